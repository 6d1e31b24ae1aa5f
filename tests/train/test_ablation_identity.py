"""That what only the identity code tells is learned: the path from the batch to the picture, in a minute."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from tests.train.small_ablation import SETTINGS
from train.ablation.clips import ClipSet
from train.ablation.fit import Fitting, RunName, fast_attention
from train.settings import OptimiserSettings
from train.stream.batch import TrainBatch

PEOPLE, FRAMES, SIZE = 24, 2, 32


def coloured_people() -> ClipSet:
    """Everybody is a picture of one colour, which is a linear function of the code; the reference is grey."""
    draw = torch.Generator().manual_seed(0)
    codes = functional.normalize(torch.randn(PEOPLE, 512, generator=draw), dim=1)
    colours = (torch.sigmoid(40 * codes[:, :3]) * 255).to(torch.uint8)
    picture = colours[:, None, :, None, None].expand(-1, FRAMES, -1, SIZE, SIZE).contiguous()
    empty = torch.zeros_like(picture)
    batch = TrainBatch(
        keys=[str(number) for number in range(PEOPLE)],
        index=torch.arange(PEOPLE),
        frames=picture,
        reference=torch.full((PEOPLE, 3, SIZE, SIZE), 128, dtype=torch.uint8),
        skeleton=empty,
        rendering=empty,
        face_embedding=codes,
        face_valid=torch.ones(PEOPLE, dtype=torch.bool),
        fps=torch.full((PEOPLE,), 7.0),
        face_box=torch.zeros(PEOPLE, FRAMES, 4),
        hand_boxes=torch.zeros(PEOPLE, FRAMES, 2, 4),
        clip_embedding=torch.zeros(PEOPLE, 32, dtype=torch.float16),
    )
    names = tuple(batch.keys)
    return ClipSet(batch, names, names, names, None)


@pytest.mark.slow
def test_what_only_the_code_tells_is_learned_and_not_without_it() -> None:
    clips, steps = coloured_people(), 120
    settings = replace(
        SETTINGS, base_steps=0, steps=steps, batch=8, optimiser=OptimiserSettings(learning_rate=2e-3, warmup=10),
        # Noise that hides the colour: only a condition can tell it.
        diffusion=replace(SETTINGS.diffusion, sigma_mean=3.5, sigma_std=0.3),
    )  # fmt: skip
    ends = {}
    for variant in ("full", "no_identity"):
        fitting = Fitting(RunName(variant, 0), Path("nowhere"), settings, torch.device("cpu"))
        with fast_attention(torch.device("cpu")):
            for step in range(steps):
                fitting.step(step, clips)
        ends[variant] = sum(fitting.losses[-20:]) / 20
    assert ends["full"] < 0.7 * ends["no_identity"], ends
