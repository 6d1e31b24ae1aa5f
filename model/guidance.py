"""Classifier-free guidance with a scale that rises over the frames: D = D_u + scale * (D_c - D_u).

SVD samples with 1.0 at a clip's first frame, the picture that it was given, rising linearly to 3.0 at the last
(diffusers; Stability's own samplers 1.0 to 2.5). To the model a frame has no other number than its place in the window,
so each window has its own ramp, whatever its place in the video. Where windows overlap the ramps are fused like
everything else: with 14 frames and an overlap of 4 the effective scale is a saw-tooth between about 1.6 and 2.4. A
constant scale, `Guidance(2.0, 2.0)`, has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Denoise = Callable[[Tensor, float, range], Tensor]
"""D of a window: noisy latents fp32 (B, T, C, h, w), sigma, the window's frame numbers -> the shape of the latents."""


class Predict(Protocol):
    """A denoiser with and without its conditions: D for each entry of `conditional`, stacked, (K, B, T, C, h, w).
    With two entries one forward over 2B clips is meant."""

    def __call__(self, x: Tensor, sigma: float, frames: range, conditional: tuple[bool, ...]) -> Tensor: ...


@dataclass(frozen=True)
class Guidance:
    """The scale at the first and at the last frame of a window; 1 is no guidance.

    sigma_low, sigma_high: a fast mode, off by default: guidance only where sigma_low < sigma <= sigma_high, elsewhere
    the conditional half alone (Kynkaanniemi et al. 2024). It changes the result.
    """

    first: float = 1.0
    last: float = 3.0
    sigma_low: float = 0.0
    sigma_high: float = math.inf

    def __post_init__(self) -> None:
        if not (math.isfinite(self.first) and math.isfinite(self.last)):
            raise ValueError(f"guidance: the scales must be numbers, not {self.first} and {self.last}")
        if not 0 <= self.sigma_low < self.sigma_high:
            raise ValueError(
                f"guidance: expected 0 <= sigma_low < sigma_high, not {self.sigma_low} and {self.sigma_high}"
            )

    def scales(self, frames: int) -> Tensor:
        """fp32 (frames,)."""
        return torch.linspace(self.first, self.last, frames)

    def active(self, sigma: float) -> bool:
        """Whether the unconditional half is needed at this level."""
        return (self.first, self.last) != (1.0, 1.0) and self.sigma_low < sigma <= self.sigma_high


def guided(predict: Predict, guidance: Guidance, batched: bool = True) -> Denoise:
    """The denoiser that the sampler takes. `batched`: both halves in one forward, or one after the other in half the
    memory. The unconditional half is not computed where it has no influence."""

    def denoise(x: Tensor, sigma: float, frames: range) -> Tensor:
        if not guidance.active(sigma):
            return predict(x, sigma, frames, (True,))[0]
        if batched:
            without, given = predict(x, sigma, frames, (False, True))
        else:
            without, given = (predict(x, sigma, frames, (half,))[0] for half in (False, True))
        scale = guidance.scales(x.shape[1]).to(x.device).reshape(1, -1, *(1,) * (x.ndim - 2))
        without, given = without.float(), given.float()
        return without + scale * (given - without)

    return denoise
