"""The variants of Table 3: the same model and data, one condition taken away."""

from __future__ import annotations

from dataclasses import replace

import torch

from train.stream.batch import TrainBatch

FULL = "full"
VARIANTS = (FULL, "no_identity", "no_skeleton", "no_rendering")
BASE = "base"
"""Without all three: what the variants start from."""
STRANGER = "stranger"
"""No variant of its own: the full model, given another person's identity code in the test."""
TITLES = {
    FULL: "full", "no_identity": "without identity", "no_skeleton": "without skeleton",
    "no_rendering": "without rendering", BASE: "base (none of the three)", STRANGER: "full, with a stranger's code",
}  # fmt: skip


def without(batch: TrainBatch, variant: str) -> TrainBatch:
    """The batch with what `variant` lacks taken away: no face vector is given, a map is black."""
    if variant not in (*VARIANTS, BASE):
        raise ValueError(f"there is no variant {variant!r}; there are {', '.join((*VARIANTS, BASE))}")
    changed = batch
    if variant in ("no_identity", BASE):
        changed = replace(changed, face_valid=torch.zeros_like(batch.face_valid))
    if variant in ("no_skeleton", BASE):
        changed = replace(changed, skeleton=torch.zeros_like(batch.skeleton))
    if variant in ("no_rendering", BASE):
        changed = replace(changed, rendering=torch.zeros_like(batch.rendering))
    return changed
