"""What chance decides about a training sample: a pure function of (seed, global number of the sample).

No generator lives between samples. The draws are made on the CPU, so that they are the same numbers on every device,
for any number of ranks, and after a resume.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model.conditions import Given
from model.edm import SigmaDistribution
from train.settings import DiffusionSettings
from train.stream.rng import sample_generator, sample_rng


@dataclass(frozen=True)
class Draws:
    """For B samples of T frames; fp32 on the CPU. sigma, noise_aug: (B,), noise levels of the latent and of the
    condition image. noise, posterior: (B, T, C, h, w), standard normal, of the latent and of the VAE's posterior.
    image_noise: (B, 3, H, W). kept: which conditions are not dropped."""

    sigma: Tensor
    noise: Tensor
    posterior: Tensor
    noise_aug: Tensor
    image_noise: Tensor
    kept: Given

    def on(self, device: torch.device) -> Draws:
        """The tensors on a device; `kept` stays on the CPU, where it is looked at. A GPU is not waited for."""
        names = ("sigma", "noise", "posterior", "noise_aug", "image_noise")
        tensors = {name: getattr(self, name) for name in names}
        if device.type == "cuda":
            tensors = {name: tensor.pin_memory().to(device, non_blocking=True) for name, tensor in tensors.items()}
        return replace(self, **tensors)


def draw(
    settings: DiffusionSettings, seed: int, index: Sequence[int], latent: tuple[int, ...], picture: tuple[int, ...]
) -> Draws:
    """The draws of the samples with these global numbers. latent: (T, C, h, w); picture: (3, H, W)."""

    def normal(purpose: str, shape: tuple[int, ...]) -> Tensor:
        return torch.stack([torch.randn(shape, generator=sample_generator(seed, i, purpose)) for i in index])

    def level(purpose: str, distribution: SigmaDistribution) -> Tensor:
        return distribution.draw([sample_generator(seed, i, purpose) for i in index])

    return Draws(
        sigma=level("sigma", SigmaDistribution(settings.sigma_mean, settings.sigma_std)),
        noise=normal("noise", latent),
        posterior=normal("posterior", latent),
        noise_aug=level("noise_aug", SigmaDistribution(settings.noise_aug_mean, settings.noise_aug_std)),
        image_noise=normal("image_noise", picture),
        kept=kept_conditions(settings, seed, index),
    )


def kept_conditions(settings: DiffusionSettings, seed: int, index: Sequence[int]) -> Given:
    """Which conditions each sample keeps; bool (B,) each.

    One number u decides about CLIP and image latent: u < p drops CLIP, p <= u < 2p both, 2p <= u < 3p the image latent
    (the scheme of InstructPix2Pix, which SVD's public fine-tuners use). The others are dropped independently.
    """
    u = torch.tensor([sample_rng(seed, i, "dropout").random(5).tolist() for i in index], dtype=torch.float64)
    p = settings.drop
    everything = u[:, 4] < settings.drop_all
    return Given(
        image=~((u[:, 0] >= p) & (u[:, 0] < 3 * p) | everything),
        clip=~((u[:, 0] < 2 * p) | everything),
        reference=~((u[:, 1] < settings.drop_reference) | everything),
        face=~((u[:, 2] < settings.drop_face) | everything),
        pose=~((u[:, 3] < settings.drop_pose) | everything),
    )
