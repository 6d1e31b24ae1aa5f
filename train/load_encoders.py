"""The frozen encoders from their folders."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers.models import AutoencoderKLTemporalDecoder
from safetensors import SafetensorError
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

import model as model_package
from model.config import VividPoseConfig
from model.image_encoder import ImageEncoder
from model.vae import Vae
from train.encoders import Encoders
from train.settings import EncoderSettings

TINY = Path(model_package.__file__).resolve().parent / "tiny"


class BadEncoders(RuntimeError):
    """A folder with an encoder that is missing, damaged, or does not fit the model."""


def load_encoders(settings: EncoderSettings, config: VividPoseConfig, device: torch.device) -> Encoders:
    """Raises `BadEncoders` naming the setting."""
    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[settings.precision]
    vae = Vae(_vae(settings.vae), dtype).to(device)
    found = (vae.channels, vae.factor, vae.scaling_factor)
    wanted = (config.vae.latent_channels, config.vae.scale_factor, config.vae.scaling_factor)
    if found != wanted:
        raise BadEncoders(
            f"encoders.vae {settings.vae}: channels, pixels per latent and scaling are {found}, the model "
            f"{config.name} wants {wanted}"
        )
    encoder = ImageEncoder(_image_encoder(settings.image_encoder, config.clip.width), dtype).to(device)
    if encoder.width != config.clip.width:
        raise BadEncoders(
            f"encoders.image_encoder {settings.image_encoder}: an embedding is {encoder.width} wide, the model "
            f"{config.name} wants {config.clip.width}"
        )
    return Encoders(vae, encoder, settings.frames_at_once)


def _vae(name: str) -> AutoencoderKLTemporalDecoder:
    folder = TINY / "vae" if name == "tiny" else Path(name)
    try:
        return AutoencoderKLTemporalDecoder.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, SafetensorError) as error:
        raise BadEncoders(f"encoders.vae: {folder} holds no VAE in diffusers' format: {_first_line(error)}") from error


def _image_encoder(folder: Path | None, width: int) -> CLIPVisionModelWithProjection:
    if folder is None:
        return untrained_image_encoder(width)
    try:
        return CLIPVisionModelWithProjection.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, SafetensorError) as error:
        reason = _first_line(error)
        raise BadEncoders(f"encoders.image_encoder: {folder} holds no CLIP vision model: {reason}") from error


def untrained_image_encoder(width: int) -> CLIPVisionModelWithProjection:
    """A small tower of random, fixed weights: features that tell pictures apart, for the tiny configuration."""
    config = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8,
        projection_dim=width,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return CLIPVisionModelWithProjection(config)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
