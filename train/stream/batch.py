"""What the stream hands to the trainer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Replaced:
    """A sample that could not be read and the one that came in its place, both of the dataset `dataset`."""

    wanted: str
    taken: str
    reason: str
    dataset: str


@dataclass(frozen=True)
class TrainBatch:
    """B clips of T frames at H x W pixels. Everything but lists is a tensor.

    keys: the samples' keys. index: int64 (B,), each sample's position in the endless global order: what `sample_rng`
    takes.
    frames: uint8 (B, T, 3, H, W), RGB; None where `latents` are given.
    reference: uint8 (B, 3, H, W), RGB, another frame of the same clip (see `ClipSettings.reference`).
    skeleton, rendering: uint8 (B, T, 3, H, W), RGB on black, pixel by pixel over the frames.
    face_embedding: float32 (B, 512), of the reference, length 1; zeros where `face_valid` (B,) is False.
    fps: float32 (B,), frames a second of the T frames as sampled.
    face_box: float32 (B, T, 4) and hand_boxes: float32 (B, T, 2, 4), left then right: x0 y0 x1 y1 in pixels of the
        batch's pictures, from the key points, for loss weights; zeros where the part is not seen.
    latents: float16 (B, T, 2C, h, w), the VAE's moments (mean, then log variance) of the frames, not scaled; or None.
    reference_latents: float16 (B, 2C, h, w), the moments of the clean reference; or None.
    clip_embedding: float16 (B, 1024), CLIP's image embedding of the clean reference; or None.
    replaced: what could not be read, one entry per position of this batch that got another sample.
    """

    keys: list[str]
    index: Tensor
    frames: Tensor | None
    reference: Tensor
    skeleton: Tensor
    rendering: Tensor
    face_embedding: Tensor
    face_valid: Tensor
    fps: Tensor
    face_box: Tensor
    hand_boxes: Tensor
    latents: Tensor | None = None
    reference_latents: Tensor | None = None
    clip_embedding: Tensor | None = None
    replaced: tuple[Replaced, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    def tensors(self) -> dict[str, Tensor]:
        """The fields that are tensors, those that are None left out."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Self:
        """The same batch on a device. dtypes stay."""
        return self._with({name: t.to(device, non_blocking=non_blocking) for name, t in self.tensors().items()})

    def _with(self, tensors: dict[str, Any]) -> Self:
        return replace(self, **tensors)

    def pin_memory(self) -> Self:
        """The same batch in page-locked memory; torch's loader calls it."""
        return self._with({name: tensor.pin_memory() for name, tensor in self.tensors().items()})


def collate(samples: Sequence[TrainBatch]) -> TrainBatch:
    """Batches, each usually of one sample, as one batch in their order. All must have the same optional fields."""
    first = samples[0]
    if len(samples) == 1:
        return first
    names = [set(sample.tensors()) for sample in samples]
    for other in names:
        if other != names[0]:
            raise ValueError(f"samples of one batch differ in their fields: {sorted(other ^ names[0])}")
    joined = {name: torch.cat([sample.tensors()[name] for sample in samples]) for name in first.tensors()}
    keys = [key for sample in samples for key in sample.keys]
    return replace(first, keys=keys, replaced=tuple(r for s in samples for r in s.replaced), **joined)
