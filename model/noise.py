"""The noise that sampling starts from: a pure function of the seed and the frame's number.

So no tensor of the video's length is needed, any window may be computed anywhere, a batch of videos starts from the
same noise as each video alone, and a frame's noise does not depend on the video's length. Philox is a counter-based
generator: its key is (seed, frame), so no two frames of any two seeds share a stream. Always drawn on the CPU: the same
for every device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

CONDITION_IMAGE = 2**64 - 1
"""The frame number that stands for the noise augmentation of the condition image."""


@dataclass(frozen=True)
class FrameNoise:
    """Called with a frame's number: unit Gaussian noise, fp32 (B, *shape), from a seed (0 to 2^64-1) per video.

    >>> FrameNoise(seeds=(7,), shape=(4, 96, 64))(0)     # of a video with seed 7, frame 0
    >>> FrameNoise(seeds=(7,), shape=(3, 768, 512))(CONDITION_IMAGE)
    """

    seeds: Sequence[int]
    shape: tuple[int, ...]
    device: torch.device | str = "cpu"

    def __post_init__(self) -> None:
        if not self.seeds:
            raise ValueError("noise needs a seed per video, and there is none")
        for seed in self.seeds:
            if not isinstance(seed, int) or not 0 <= seed < 2**64:
                raise ValueError(f"a seed must be a whole number from 0 to 2^64-1, not {seed}")

    def __call__(self, frame: int) -> Tensor:
        return torch.stack([self._draw(seed, frame) for seed in self.seeds]).to(self.device)

    def _draw(self, seed: int, frame: int) -> Tensor:
        key = np.array([seed, frame], dtype=np.uint64)
        return torch.from_numpy(np.random.Generator(np.random.Philox(key=key)).standard_normal(self.shape, np.float32))
