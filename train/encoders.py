"""The frozen encoders of a run: SVD's VAE and CLIP, or what the stream brings of them from the cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from model.config import VividPoseConfig
from model.encoders import TINY, Encoders, load_encoders
from model.vae import Vae
from pipelines.settings import BadSettings
from train.settings import EncoderSettings
from train.stream.batch import TrainBatch


@dataclass(frozen=True)
class BatchEncoders:
    """SVD's encoders, on the run's device, applied to batches. at_once: pictures in the VAE at a time. Results are
    fp32."""

    encoders: Encoders
    at_once: int = 8

    @property
    def vae(self) -> Vae:
        return self.encoders.vae

    def bytes(self) -> int:
        """Of their weights."""
        nets = (self.vae.net, self.encoders.image.net)
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
        return self.encoders.image.embed(signed(batch.reference))


def signed(pictures: Tensor) -> Tensor:
    """uint8 (..., 3, H, W) to float32 in -1..1."""
    return pictures.to(torch.float32) / 127.5 - 1


def encoders_folder(settings: EncoderSettings) -> Path:
    return TINY if settings.folder == "tiny" else Path(settings.folder)


def open_encoders(settings: EncoderSettings, config: VividPoseConfig, device: torch.device) -> BatchEncoders:
    """Raises `BadFolder` for a folder that cannot be read, `BadSettings` where it does not fit the model."""
    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[settings.precision]
    loaded = load_encoders(encoders_folder(settings), device, dtype)
    found = (loaded.vae.channels, loaded.vae.factor, loaded.image.width)
    wanted = (config.vae.latent_channels, config.vae.scale_factor, config.clip.width)
    if found != wanted:
        raise BadSettings(
            f"encoders.folder {settings.folder}: latent channels, pixels per latent and width of the image embedding "
            f"are {found}, the model {config.name} wants {wanted}"
        )
    return BatchEncoders(loaded, settings.frames_at_once)
