"""The frozen encoders of a run: SVD's VAE and CLIP, or what the stream brings of them from the cache."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model.image_encoder import ImageEncoder
from model.vae import Vae
from train.stream.batch import TrainBatch


@dataclass(frozen=True)
class Encoders:
    """vae, image_encoder: on the run's device. at_once: pictures in the VAE at a time. Results are fp32."""

    vae: Vae
    image_encoder: ImageEncoder
    at_once: int = 8

    def bytes(self) -> int:
        """Of their weights."""
        nets = (self.vae.net, self.image_encoder.net)
        return sum(p.numel() * p.element_size() for net in nets for p in net.parameters())

    def latents(self, batch: TrainBatch, noise: Tensor) -> Tensor:
        """x0: (B, T, C, h, w), samples of the VAE's posterior, scaled. noise: standard normal of that shape."""
        if batch.latents is not None:
            mean, log_variance = batch.latents.float().chunk(2, dim=2)
            return self.vae.scaled(mean + (log_variance / 2).exp() * noise)
        if batch.frames is None:
            raise ValueError("the batch has neither frames nor latents")
        moments = self.vae.encode(signed(batch.frames).flatten(0, 1), self.at_once)
        return self.vae.scaled(moments.sample(noise.flatten(0, 1))).unflatten(0, noise.shape[:2])

    def reference_latent(self, batch: TrainBatch) -> Tensor:
        """(B, C, h, w), the mode of the clean reference, scaled."""
        if batch.reference_latents is not None:
            return self.vae.scaled(batch.reference_latents.float().chunk(2, dim=1)[0])
        return self.vae.scaled(self.vae.encode(signed(batch.reference), self.at_once).mode())

    def image_latent(self, reference: Tensor, noise: Tensor, noise_aug: Tensor) -> Tensor:
        """(B, C, h, w), SVD's image condition, not scaled: always computed, its noise is another one in every step."""
        return self.vae.image_latent(signed(reference), noise, noise_aug)

    def clip_embedding(self, batch: TrainBatch) -> Tensor:
        """(B, 1, width)."""
        if batch.clip_embedding is not None:
            return batch.clip_embedding.float().unsqueeze(1)
        return self.image_encoder.embed(signed(batch.reference))


def signed(pictures: Tensor) -> Tensor:
    """uint8 (..., 3, H, W) to float32 in -1..1."""
    return pictures.to(torch.float32) / 127.5 - 1
