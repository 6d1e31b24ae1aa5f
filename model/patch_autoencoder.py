"""An "autoencoder" without training: pixels of a patch to channels, by a fixed orthonormal transform.

`nn.PixelUnshuffle` in another basis: the cosine transform of a patch, in luma and two colour differences, of which the
coarsest are kept. With all of them nothing is lost. Since the basis is orthonormal, an error of the latents is the
same error of the pixels.
"""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.nn import functional

# Luma and two colour differences, orthonormal.
_OPPONENT = ((3**-0.5, 3**-0.5, 3**-0.5), (2**-0.5, 0.0, -(2**-0.5)), (6**-0.5, -2 * 6**-0.5, 6**-0.5))
COLOUR_FREQUENCY = 1
"""How many steps of frequency luma is kept longer than colour."""


class PatchAutoencoder(nn.Module):
    """Has what `model.vae.Vae` asks of a network. factor: side of a patch, a power of two. channels: how many of its
    3 * factor^2 coefficients are kept. scaling_factor: what makes the latents' variance 1."""

    basis: Tensor

    def __init__(self, factor: int, channels: int, scaling_factor: float) -> None:
        super().__init__()
        levels = factor.bit_length()
        if factor < 1 or factor != 1 << (levels - 1):
            raise ValueError(f"factor: expected a power of two, not {factor}")
        if not 1 <= channels <= 3 * factor**2:
            raise ValueError(
                f"channels: expected 1 to {3 * factor**2} for patches of {factor} x {factor}, not {channels}"
            )
        self.config = SimpleNamespace(
            scaling_factor=scaling_factor, latent_channels=channels, block_out_channels=(channels,) * levels,
            force_upcast=False,
        )  # fmt: skip
        self.register_buffer("basis", patch_basis(factor)[:channels])

    @property
    def dtype(self) -> torch.dtype:
        return self.basis.dtype

    @property
    def device(self) -> torch.device:
        return self.basis.device

    def encode(self, pictures: Tensor) -> SimpleNamespace:
        """(N, 3, H, W) to `latent_dist` with mean (N, C, h, w) and a standard deviation of zero."""
        mean = functional.conv2d(pictures, self.basis, stride=self.basis.shape[-1])
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=mean, std=torch.zeros_like(mean)))

    def decode(self, latents: Tensor, num_frames: int) -> SimpleNamespace:
        """(T, C, h, w) to `sample`, (T, 3, H, W). Frame by frame: `num_frames` changes nothing."""
        return SimpleNamespace(sample=functional.conv_transpose2d(latents, self.basis, stride=self.basis.shape[-1]))


def patch_basis(factor: int) -> Tensor:
    """(3 * factor^2, 3, factor, factor), orthonormal rows, the coarsest first, in float32."""
    place = torch.arange(factor, dtype=torch.float64)
    cosines = torch.cos(torch.pi * (place[None] + 0.5) * place[:, None] / factor) * (2 / factor) ** 0.5
    cosines[0] /= 2**0.5
    waves = torch.einsum("uy,vx->uvyx", cosines, cosines)
    colours = torch.tensor(_OPPONENT, dtype=torch.float64)
    rows = [
        (u + v + (COLOUR_FREQUENCY if colour else 0), colour, u, v)
        for colour in range(3) for u in range(factor) for v in range(factor)
    ]  # fmt: skip
    return torch.stack([colours[colour][:, None, None] * waves[u, v] for _, colour, u, v in sorted(rows)]).float()
