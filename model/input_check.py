"""Says which input of the model is wrong, before it becomes a picture of noise."""

from __future__ import annotations

import torch
from torch import Tensor

from model.conditions import ClipInputs, Conditions
from model.config import VividPoseConfig


class BadInput(ValueError):
    """An input of the model with a wrong shape, a wrong size or values that are not finite."""


def check_size(width: int, height: int, config: VividPoseConfig) -> None:
    """Pixels."""
    multiple = config.size_multiple
    if width < 1 or height < 1 or width % multiple or height % multiple:
        raise BadInput(f"width and height must be multiples of {multiple} pixels, not {width}x{height}")


def check_inputs(inputs: ClipInputs, config: VividPoseConfig) -> None:
    """Shapes, sizes, and that all that is given is finite: one look at the device for all of them."""
    clips, frames, _, height, width = _five(inputs.skeleton, "skeleton")
    check_size(width, height, config)
    scale, channels = config.vae.scale_factor, config.vae.latent_channels
    latent = (clips, channels, height // scale, width // scale)
    expected = {
        "reference_latent": latent,
        "image_latent": latent,
        "clip_embedding": (clips, 1, config.clip.width),
        "face_embedding": (clips, config.identity.embedding),
        "skeleton": (clips, frames, 3, height, width),
        "rendering": (clips, frames, 3, height, width),
        "fps": (clips,),
        "motion_bucket": (clips,),
        "noise_aug": (clips,),
    }
    for name, shape in expected.items():
        found = tuple(getattr(inputs, name).shape)
        if found != shape:
            raise BadInput(f"{name} has the shape {found}, expected {shape}")
    masks = {
        "reference_latent": inputs.given.reference,
        "image_latent": inputs.given.image,
        "clip_embedding": inputs.given.clip,
        "face_embedding": inputs.given.face,
        "skeleton": inputs.given.pose,
        "rendering": inputs.given.pose,
    }
    for name, mask in masks.items():
        if tuple(mask.shape) != (clips,) or mask.dtype != torch.bool:
            raise BadInput(f"what is given of {name} must be bool ({clips},), not {mask.dtype} {tuple(mask.shape)}")
    finite = []
    for name in expected:
        values: Tensor = getattr(inputs, name)
        good = torch.isfinite(values.flatten(1) if values.ndim > 1 else values[:, None]).all(dim=1)
        if name in masks:
            good = good | ~masks[name].to(good.device)
        finite.append(good.all())
    for name, good in zip(expected, torch.stack(finite).tolist(), strict=True):
        if not good:
            raise BadInput(f"{name} holds values that are not finite (NaN or infinity)")


def check_latent(scaled_latent: Tensor, c_noise: Tensor, conditions: Conditions, config: VividPoseConfig) -> None:
    clips, frames, channels, height, width = _five(scaled_latent, "scaled_latent")
    multiple = config.latent_multiple
    if height % multiple or width % multiple:
        scale = config.vae.scale_factor
        raise BadInput(
            f"the latent is {width}x{height}, of a picture of {width * scale}x{height * scale} pixels, whose sides must"
            f" be multiples of {config.size_multiple}"
        )
    if channels != config.vae.latent_channels:
        raise BadInput(f"scaled_latent has {channels} channels, expected {config.vae.latent_channels}")
    if tuple(c_noise.shape) != (clips,):
        raise BadInput(f"c_noise has the shape {tuple(c_noise.shape)}, expected ({clips},)")
    expected: dict[str, tuple[Tensor, tuple[int, ...]]] = {
        "image_latent": (conditions.image_latent, (clips, channels, height, width)),
        "context": (conditions.context, (clips, 1, config.clip.width)),
        "added_ids": (conditions.added_ids, (clips, 3)),
    }
    if conditions.pose is not None:
        expected["pose"] = (conditions.pose, (clips, frames, config.pose_channels, height, width))
    for name, (found, shape) in expected.items():
        if tuple(found.shape) != shape:
            raise BadInput(f"the condition {name} has the shape {tuple(found.shape)}, expected {shape}")


def _five(x: Tensor, name: str) -> torch.Size:
    if x.ndim != 5:
        raise BadInput(f"{name} has the shape {tuple(x.shape)}, expected (B, T, C, H, W)")
    return x.shape
