"""The full-size networks on the meta device: parameters, and floating point operations as torch counts them.

Nothing is computed and no memory is taken, so this runs anywhere. A multiply-add counts two; attention is counted as
flash attention does it where torch has a formula for it. `EXPECTED` are counts made by other means from the published
configurations, at 14 frames of 512x768, one clip.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers.models import AutoencoderKLTemporalDecoder
from rich.table import Table
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from model import edm
from model.conditions import ClipInputs, Given
from model.config import VividPoseConfig
from model.execution import POLICIES
from model.vividpose import VividPose

SVD_VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "layers_per_block": 2,
}
VIT_H: dict[str, Any] = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "patch_size": 14,
    "image_size": 224,
    "projection_dim": 1024,
    "hidden_act": "gelu",
}
EXPECTED = {
    "M parameters: SVD's UNet": 1524.6,
    "M parameters: ReferenceNet": 865.9,
    "M parameters: identity adapters": 51.1,
    "M parameters: identity tokens": 4.7,
    "M parameters: pose encoders": 4.5,
    "M parameters: VAE encoder": 34.2,
    "M parameters: VAE decoder": 63.6,
    "M parameters: CLIP": 632.1,
    "TFLOP: UNet alone": 27.94,
    "TFLOP: UNet, reference and identity": 32.1,
    "TFLOP: pose encoders": 2.10,
    "TFLOP: ReferenceNet": 1.29,
    "TFLOP: all, one forward": 35.5,
    "TFLOP: VAE encodes a frame": 1.70,
    "TFLOP: VAE decodes 14 frames": 64.3,
    "TFLOP: CLIP, one picture": 0.335,
    "TFLOP: training, nothing recomputed": 106.9,
    "TFLOP: training, feed_forward": 113.5,
    "TFLOP: training, full": 139.7,
}
"""The training step with the exact shortcut for a single context token, -4.0; full: 143.7 without it."""


def clip_inputs(
    config: VividPoseConfig, frames: int, size: tuple[int, int], device: str, dtype: torch.dtype, given: bool = True
) -> ClipInputs:
    """Random inputs of one clip; size: (width, height)."""
    width, height = size
    scale, channels = config.vae.scale_factor, config.vae.latent_channels
    yes = torch.tensor([given])

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, device=device, dtype=dtype)

    latent = (1, channels, height // scale, width // scale)
    one = torch.ones(1, device=device)
    return ClipInputs(
        reference_latent=rand(*latent),
        image_latent=rand(*latent),
        clip_embedding=rand(1, 1, config.clip.width),
        face_embedding=rand(1, config.identity.embedding),
        skeleton=rand(1, frames, 3, height, width),
        rendering=rand(1, frames, 3, height, width),
        fps=7 * one,
        motion_bucket=127 * one,
        noise_aug=0.02 * one,
        given=Given(yes, yes, yes, yes, yes),
    )


def noisy(config: VividPoseConfig, frames: int, size: tuple[int, int], device: str) -> torch.Tensor:
    scale = config.vae.scale_factor
    return torch.randn(1, frames, config.vae.latent_channels, size[1] // scale, size[0] // scale, device=device)


def training_loss(model: VividPose, inputs: ClipInputs, x: torch.Tensor) -> torch.Tensor:
    """From the clip's inputs to the loss; x stands for latents and noise."""
    level = torch.full((1,), 0.3, device=x.device)
    predicted = model(edm.scaled(x, 2.0), level, model.conditions(inputs, check=False))
    return functional.mse_loss(predicted.float(), x)


def tflop(work: Callable[[], Any]) -> float:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / 1e12


def counted(config: VividPoseConfig, frames: int = 14, size: tuple[int, int] = (512, 768)) -> dict[str, float]:
    """The names of `EXPECTED` and what torch counts for them."""
    with torch.device("meta"):
        model = VividPose(config).to("meta", torch.bfloat16).eval()
        vae = AutoencoderKLTemporalDecoder(**SVD_VAE).to("meta", torch.bfloat16)
        clip = CLIPVisionModelWithProjection(CLIPVisionConfig(**VIT_H)).to(torch.bfloat16)
    # The device is named again: diffusers' mixing factors are made on the CPU whatever the default.
    inputs, x = clip_inputs(config, frames, size, "meta", torch.bfloat16), noisy(config, frames, size, "meta")
    nothing = clip_inputs(config, frames, size, "meta", torch.bfloat16, given=False)
    level, latent = torch.zeros(1, device="meta"), inputs.reference_latent

    def million(*parts: Any) -> float:
        return sum(parameter.numel() for part in parts for parameter in part.parameters()) / 1e6

    adapters = million(model.identity) - (tokens := million(model.identity.project))
    result = {
        "M parameters: SVD's UNet": million(model.unet),
        "M parameters: ReferenceNet": million(model.reference_net),
        "M parameters: identity adapters": adapters,
        "M parameters: identity tokens": tokens,
        "M parameters: pose encoders": million(model.pose),
        "M parameters: VAE encoder": million(vae.encoder),
        "M parameters: VAE decoder": million(vae.decoder),
        "M parameters: CLIP": million(clip),
    }
    with torch.no_grad():
        plain, full = model.conditions(nothing, check=False), model.conditions(inputs, check=False)
        result |= {
            "TFLOP: UNet alone": tflop(lambda: model(x, level, plain)),
            "TFLOP: UNet, reference and identity": tflop(lambda: model(x, level, full.with_pose(None))),
            "TFLOP: pose encoders": tflop(lambda: model.pose_features(inputs.skeleton, inputs.rendering)),
            "TFLOP: ReferenceNet": tflop(lambda: model.reference_net(latent, inputs.clip_embedding)),
            "TFLOP: all, one forward": tflop(lambda: training_loss(model, inputs, x)),
            "TFLOP: VAE encodes a frame": tflop(lambda: vae.encode(inputs.skeleton[:, 0])),
            "TFLOP: VAE decodes 14 frames": tflop(lambda: vae.decode(x[0].bfloat16(), num_frames=frames)),
            "TFLOP: CLIP, one picture": tflop(
                lambda: clip(pixel_values=torch.empty(1, 3, 224, 224, device="meta", dtype=torch.bfloat16))
            ),
        }
    for policy, name in zip(POLICIES, ("nothing recomputed", "feed_forward", "full")):
        model.train().set_checkpointing(policy)
        result[f"TFLOP: training, {name}"] = tflop(lambda: training_loss(model, inputs, x).backward())
    return result


def table(found: dict[str, float]) -> Table:
    table = Table("full size, meta device", "counted", "expected", "difference", title="14 frames, 512x768, one clip")
    for name, value in found.items():
        expected = EXPECTED[name]
        table.add_row(name, f"{value:.2f}", f"{expected:g}", f"{100 * (value / expected - 1):+.1f} %")
    return table
