"""The denoising network: Stable Video Diffusion's UNet, with the paper's conditions as explicit arguments."""

from __future__ import annotations

import torch
from diffusers import UNetSpatioTemporalConditionModel
from torch import Tensor, nn

from model.conditions import Conditions
from model.execution import Execution
from model.transformer import BlockConditions, spatio_temporal_transformer

PLAIN = Execution()


def resnet(module: nn.Module, x: Tensor, embedding: Tensor, video_only: Tensor) -> Tensor:
    return module(x, embedding, image_only_indicator=video_only)


class DenoisingUNet(UNetSpatioTemporalConditionModel):
    """diffusers' class with its configuration, parameters and names; only `forward` is our own.

    It has no hooks and keeps nothing between calls: what conditions it comes in with each call. Equal to the stock
    forward when no reference, no face and no pose is given.
    """

    def forward(
        self, scaled_latent: Tensor, c_noise: Tensor, conditions: Conditions, pose_injection: str = "conv_in",
        run: Execution = PLAIN,
    ) -> Tensor:
        """scaled_latent: (B, T, 4, h, w), c_in times the noisy latent. c_noise: (B,). Returns F, shaped as the latent."""
        clips, frames = scaled_latent.shape[:2]
        if conditions.pose is not None and pose_injection == "latent":
            scaled_latent = scaled_latent + conditions.pose
        image_latent = conditions.image_latent[:, None].expand(-1, frames, -1, -1, -1)
        x = torch.cat([scaled_latent, image_latent], dim=2).flatten(0, 1)

        embedding = self._time_embedding(c_noise, conditions.added_ids, x.dtype).repeat_interleave(
            frames, dim=0, output_size=clips * frames
        )
        video_only = torch.zeros(clips, frames, dtype=x.dtype, device=x.device)
        given = conditions.reference_given
        blocks = BlockConditions(
            context=conditions.context,
            reference=conditions.reference,
            reference_given=None if bool(given.all()) else given.cpu(),
            identity=conditions.identity,
            frames=frames,
        )

        def layer(stage: str, index: int, x: Tensor) -> Tensor:
            """A resnet and the transformer behind it, where the stage has one."""
            module = self.get_submodule(stage)
            x = run.block(resnet, module.resnets[index], x, embedding, video_only)  # type: ignore[index]
            if not getattr(module, "has_cross_attention", False):
                return x
            return self._transformer(f"{stage}.attentions.{index}", x, blocks, run)

        x = self.conv_in(x)
        if conditions.pose is not None and pose_injection == "conv_in":
            x = x + conditions.pose.flatten(0, 1)

        skips = [x]
        for stage, module in enumerate(self.down_blocks):
            for index in range(len(module.resnets)):  # type: ignore[arg-type]
                x = layer(f"down_blocks.{stage}", index, x)
                skips.append(x)
            for downsampler in module.downsamplers or ():  # type: ignore[union-attr]
                x = downsampler(x)
                skips.append(x)

        x = run.block(resnet, self.mid_block.resnets[0], x, embedding, video_only)
        for index, after in enumerate(self.mid_block.resnets[1:]):
            x = self._transformer(f"mid_block.attentions.{index}", x, blocks, run)
            x = run.block(resnet, after, x, embedding, video_only)

        for stage, module in enumerate(self.up_blocks):
            for index in range(len(module.resnets)):  # type: ignore[arg-type]
                x = layer(f"up_blocks.{stage}", index, torch.cat([x, skips.pop()], dim=1))
            for upsampler in module.upsamplers or ():  # type: ignore[union-attr]
                x = upsampler(x)

        x = self.conv_out(self.conv_act(self.conv_norm_out(x)))
        return x.unflatten(0, (clips, frames))

    def _time_embedding(self, c_noise: Tensor, added_ids: Tensor, dtype: torch.dtype) -> Tensor:
        """(B, 4 * C0). The sinusoids are taken in fp32, where bf16 would blur noise levels and motion buckets."""
        noise = self.time_proj(c_noise.float()).to(dtype)
        ids = self.add_time_proj(added_ids.float().flatten()).unflatten(0, (len(added_ids), -1)).flatten(1).to(dtype)
        return self.time_embedding(noise) + self.add_embedding(ids)

    def _transformer(self, name: str, x: Tensor, blocks: BlockConditions, run: Execution) -> Tensor:
        return run.block(spatio_temporal_transformer, self.get_submodule(name), x, blocks.of(name), run)
