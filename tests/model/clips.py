"""Made-up clips of the tiny configuration, small enough for a test."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model.conditions import ClipInputs, Given
from model.config import VividPoseConfig, load_config
from model.folder import create
from model.vividpose import VividPose

CONDITIONS = ("image", "clip", "reference", "face", "pose")
WIDTH, HEIGHT = 32, 48


def tiny_config(**sections: object) -> VividPoseConfig:
    """tiny, with single values of its sections changed: `identity={"temporal": False}`."""
    config = load_config("tiny")
    changed = {
        name: dataclasses.replace(getattr(config, name), **values)  # type: ignore[arg-type]
        for name, values in sections.items()
    }
    return dataclasses.replace(config, **changed)


def busy_model(config: VividPoseConfig | None = None, seed: int = 0) -> VividPose:
    """Random everywhere: the layers that start at zero too, and the blending of space and time, so that every part
    counts."""
    model = create(config or tiny_config(), seed)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if name.endswith("mix_factor"):
            nn.init.normal_(parameter, std=1.0, generator=generator)
        elif not parameter.detach().any() or "zero_out" in name:
            nn.init.normal_(parameter, std=0.1, generator=generator)
    return model


def inputs(clips: int = 1, frames: int = 3, seed: int = 0, **given: bool | Sequence[bool]) -> ClipInputs:
    """Random clips of 32x48 pixels; all is given but what is named: `face=False`, `reference=[True, False]`."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def mask(name: str) -> Tensor:
        value = given.get(name, True)
        return torch.tensor([value] * clips if isinstance(value, bool) else list(value))

    h, w = HEIGHT // 4, WIDTH // 4
    return ClipInputs(
        reference_latent=normal(clips, 4, h, w),
        image_latent=normal(clips, 4, h, w),
        clip_embedding=normal(clips, 1, 32),
        face_embedding=nn.functional.normalize(normal(clips, 512)),
        skeleton=torch.rand(clips, frames, 3, HEIGHT, WIDTH, generator=generator),
        rendering=torch.rand(clips, frames, 3, HEIGHT, WIDTH, generator=generator),
        fps=torch.full((clips,), 7.0),
        motion_bucket=torch.full((clips,), 127.0),
        noise_aug=torch.full((clips,), 0.02),
        given=Given(*(mask(name) for name in CONDITIONS)),
    )


def noisy(clips: int = 1, frames: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A scaled latent (B, T, 4, h, w) and c_noise (B,)."""
    generator = torch.Generator().manual_seed(seed + 1000)
    latent = torch.randn(clips, frames, 4, HEIGHT // 4, WIDTH // 4, generator=generator)
    return latent, torch.rand(clips, generator=generator) - 0.5


def rows(clip: ClipInputs, chosen: slice) -> ClipInputs:
    """Some of a batch."""
    values = {
        field.name: getattr(clip, field.name)[chosen] for field in dataclasses.fields(clip) if field.name != "given"
    }
    given = Given(*(getattr(clip.given, name)[chosen] for name in CONDITIONS))
    return ClipInputs(**values, given=given)
