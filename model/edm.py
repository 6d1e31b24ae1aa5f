"""EDM (Karras et al. 2022) as Stable Video Diffusion uses it, with the paper's names.

    x = x0 + sigma * n                      x0: latents times the VAE's scaling factor, sigma_data = 1; n ~ N(0, 1)
    D(x; sigma) = c_skip x + c_out F(c_in x, c_noise)
    c_skip = 1/(sigma^2+1)   c_out = -sigma/sqrt(sigma^2+1)   c_in = 1/sqrt(sigma^2+1)   c_noise = ln(sigma)/4
    loss = weight |D - x0|^2,  weight = (sigma^2+1)/sigma^2

Source: Stability's `VScalingWithEDMcNoise` and `EDMWeighting`. As weight * c_out^2 = 1, the loss is the plain squared
error of F against v = (n - sigma x0)/sqrt(sigma^2+1). It is computed in this form: no weight that overflows at small
sigma, no difference of two large numbers at large sigma.

Everything is computed in fp32 (float64 stays float64), whatever the precision of the input: a latent at sigma 700 kept
in bf16 has a rounding error larger than the picture. `sigma` is a float, or a tensor (B,) with a level per sample. Only
the result of `scaled` may be cast to the network's precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Sigma = Tensor | float


def c_skip(sigma: Sigma) -> Tensor:
    """How much of the noisy latent D keeps. Same shape as `sigma`."""
    return 1 / (_full(sigma).square() + 1)


def c_out(sigma: Sigma) -> Tensor:
    """The factor of the network's output in D. Negative. Same shape as `sigma`."""
    sigma = _full(sigma)
    return -sigma / _root(sigma)


def c_in(sigma: Sigma) -> Tensor:
    """Scales the noisy latent to unit variance. Same shape as `sigma`."""
    return 1 / _root(_full(sigma))


def c_noise(sigma: Sigma) -> Tensor:
    """The noise level as the network reads it, -1.55 to 1.64 for sigma 0.002 to 700. fp32, same shape as `sigma`."""
    return _full(sigma).log() / 4


def weight(sigma: Sigma) -> Tensor:
    """The weight of |D - x0|^2 which `loss` contains without computing it. Same shape as `sigma`."""
    return 1 / _full(sigma).square() + 1


def noised(x0: Tensor, noise: Tensor, sigma: Sigma) -> Tensor:
    """x = x0 + sigma * noise, fp32, the shape of `x0` (B, ...).

    Also the noise augmentation of the condition image: x0 the picture (B, 3, H, W) in -1..1, before the VAE."""
    _same_shape("noise", noise, x0)
    return _full(x0) + _per_sample(sigma, x0) * _full(noise)


def scaled(x: Tensor, sigma: Sigma) -> Tensor:
    """c_in * x, fp32: what the network is given."""
    return _full(x) * c_in(_per_sample(sigma, x))


def v_target(x0: Tensor, noise: Tensor, sigma: Sigma) -> Tensor:
    """v = (noise - sigma * x0) / sqrt(sigma^2 + 1), what F is trained to give; fp32, the shape of `x0`."""
    _same_shape("noise", noise, x0)
    level = _per_sample(sigma, x0)
    return c_in(level) * _full(noise) + c_out(level) * _full(x0)


def denoised(F: Tensor, x: Tensor, sigma: Sigma) -> Tensor:
    """D(x; sigma) from the network's output F on `scaled(x, sigma)`; fp32, the shape of `x`."""
    _same_shape("F", F, x)
    level = _per_sample(sigma, x)
    return c_skip(level) * _full(x) + c_out(level) * _full(F)


def loss(F: Tensor, x0: Tensor, noise: Tensor, sigma: Sigma, weight_map: Tensor | None = None) -> Tensor:
    """weight(sigma) * |D - x0|^2 of each sample, averaged over its elements; fp32 (B,).

    weight_map: multiplies the squared error before the mean, broadcast to F's shape, e.g. (B, T, 1, h, w) with more
    than 1 on faces and hands. The mean is not divided by the map's: what lies outside a face weighs as much in a sample
    with a face as in one without.
    """
    _same_shape("F", F, x0)
    error = (_full(F) - v_target(x0, noise, sigma)).square()
    if weight_map is not None:
        if weight_map.ndim != F.ndim or any(m not in (1, f) for m, f in zip(weight_map.shape, F.shape)):
            raise ValueError(f"weight_map {tuple(weight_map.shape)} does not broadcast to F {tuple(F.shape)}")
        error = error * _full(weight_map)
    return error.flatten(1).mean(1)


@dataclass(frozen=True)
class SigmaDistribution:
    """ln(sigma) ~ N(mean, std^2), the noise levels of training. Default: those of SVD's fine-tuning at high noise."""

    mean: float = 0.7
    std: float = 1.6

    def __post_init__(self) -> None:
        if not self.std > 0:
            raise ValueError(f"the standard deviation of ln(sigma) must be above 0, not {self.std}")

    def draw(self, generators: Sequence[torch.Generator]) -> Tensor:
        """A level per sample from that sample's own generator: fp32 (B,), on the CPU. What one sample draws does not
        depend on the batch that it is in."""
        normal = torch.cat([torch.randn(1, generator=g, device=g.device).cpu() for g in generators])
        return (self.mean + self.std * normal).exp()

    def quantile(self, share: Sigma) -> Tensor:
        """The sigma below which this share (0..1) of all draws lies, e.g. the borders of the deciles of a loss."""
        return (self.mean + self.std * torch.special.ndtri(_full(share))).exp()

    def cdf(self, sigma: Sigma) -> Tensor:
        """The share (0..1) of all draws below `sigma`; `(10 * cdf).long().clamp(max=9)` is the decile."""
        return torch.special.ndtr((_full(sigma).log() - self.mean) / self.std)


CONDITION_NOISE = SigmaDistribution(mean=-3.0, std=0.5)
"""The noise augmentation of the condition image in training; SVD samples with 0.02."""


def _full(value: Sigma) -> Tensor:
    value = torch.as_tensor(value, dtype=None if isinstance(value, Tensor) else torch.float32)
    return value if value.dtype == torch.float64 else value.float()


def _root(sigma: Tensor) -> Tensor:
    return (sigma.square() + 1).sqrt()


def _per_sample(sigma: Sigma, like: Tensor) -> Tensor:
    """`sigma` with the dimensions of `like` (B, ...), on its device."""
    if not isinstance(sigma, Tensor):
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        return torch.full((1,) * like.ndim, sigma, dtype=dtype, device=like.device)
    if sigma.shape != like.shape[:1]:
        raise ValueError(f"sigma: expected a level per sample, ({like.shape[0]},), not {tuple(sigma.shape)}")
    return _full(sigma).to(like.device).reshape(-1, *(1,) * (like.ndim - 1))


def _same_shape(name: str, value: Tensor, like: Tensor) -> None:
    if value.shape != like.shape:
        raise ValueError(f"{name}: expected the latent's shape {tuple(like.shape)}, not {tuple(value.shape)}")
