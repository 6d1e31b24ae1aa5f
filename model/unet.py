"""The denoising network: Stable Video Diffusion's UNet, with the paper's conditions as explicit arguments."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel
from torch import Tensor

from model.attention import ReferenceGiven
from model.conditions import Conditions
from model.execution import Execution
from model.transformer import BlockConditions, spatio_temporal_transformer
from model.traversal import steps, walk

PLAIN = Execution()


def resnet(module: Any, x: Tensor, embedding: Tensor, video_only: Tensor) -> Tensor:
    result: Tensor = module(x, embedding, image_only_indicator=video_only)
    return result


class DenoisingUNet(UNetSpatioTemporalConditionModel):
    """diffusers' class with its configuration, parameters and names; only `forward` is our own.

    It has no hooks and keeps nothing between calls: what conditions it comes in with each call. Equal to the stock
    forward when no reference, no face and no pose is given.
    """

    def forward(  # type: ignore[override]
        self,
        scaled_latent: Tensor,
        c_noise: Tensor,
        conditions: Conditions,
        pose_injection: str = "conv_in",
        run: Execution = PLAIN,
    ) -> Tensor:
        """scaled_latent: (B, T, 4, h, w), c_in times the noisy latent. c_noise: (B,). Returns F, of the same shape."""
        clips, frames = scaled_latent.shape[:2]
        if conditions.pose is not None and pose_injection == "latent":
            scaled_latent = scaled_latent + conditions.pose
        image_latent = conditions.image_latent[:, None].expand(-1, frames, -1, -1, -1)
        x = self.conv_in(torch.cat([scaled_latent, image_latent], dim=2).flatten(0, 1))
        if conditions.pose is not None and pose_injection == "conv_in":
            x = x + conditions.pose.flatten(0, 1)

        embedding = self._time_embedding(c_noise, conditions.added_ids, x.dtype)
        embedding = embedding.repeat_interleave(frames, dim=0, output_size=clips * frames)
        video_only = torch.zeros(clips, frames, dtype=x.dtype, device=x.device)
        blocks = BlockConditions(
            context=conditions.context,
            reference=conditions.reference,
            reference_given=_given(conditions.reference_given, x.device),
            identity=conditions.identity,
            frames=frames,
        )
        x = walk(
            self,
            steps(self),
            x,
            lambda module, x: run.block(resnet, module, x, embedding, video_only),
            lambda name, module, x: run.block(spatio_temporal_transformer, module, x, blocks.of(name), video_only, run),
        )
        x = self.conv_out(self.conv_act(self.conv_norm_out(x)))
        return x.unflatten(0, (clips, frames))

    def _time_embedding(self, c_noise: Tensor, added_ids: Tensor, dtype: torch.dtype) -> Tensor:
        """(B, 4 * C0). The sinusoids are taken in fp32, where bf16 would blur noise levels and motion buckets."""
        noise = self.time_proj(c_noise.float()).to(dtype)
        ids = self.add_time_proj(added_ids.float().flatten()).unflatten(0, (len(added_ids), -1)).flatten(1).to(dtype)
        return self.time_embedding(noise) + self.add_embedding(ids)


def _given(given: Tensor, device: torch.device) -> ReferenceGiven:
    """In training a tensor, so that the operations are the same whatever is given; else what can be left out is."""
    if bool(given.all()):
        return None
    return given.to(device) if torch.is_grad_enabled() else tuple(given.tolist())
