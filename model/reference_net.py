"""The ReferenceNet: Stable Diffusion 2.1's UNet, read once per clip for the features of its spatial transformers."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from model.attention import cross_attention, self_attention
from model.execution import Execution

PLAIN = Execution()


class ReferenceNet(UNet2DConditionModel):
    """diffusers' class with its configuration, parameters and names; `forward` is our own and stops at the last feature.

    Runs at timestep 0 with the CLIP token as its context. The names of its transformer blocks are those of SVD's spatial
    ones: the pairing needs no table.
    """

    def forward(self, latent: Tensor, context: Tensor, run: Execution = PLAIN) -> dict[str, Tensor]:
        """latent: (B, 4, h, w), the clean reference, scaled. context: (B, 1, width).

        Returns, for every transformer block by name, what enters its self-attention: `norm1(hidden)`, (B, S, C).
        """
        features: dict[str, Tensor] = {}
        timestep = torch.zeros(len(latent), device=latent.device)
        embedding = self.time_embedding(self.time_proj(timestep).to(latent.dtype))
        last = f"{self.transformers()[-1][0]}."

        def transformer(name: str, x: Tensor) -> Tensor:
            module = self.get_submodule(name)
            x, found = run.block(spatial_transformer, module, x, context, run, last.startswith(f"{name}."))
            features.update({f"{name}.transformer_blocks.{index}": tokens for index, tokens in enumerate(found)})
            return x

        x = self.conv_in(latent)
        skips = [x]
        for stage, module in enumerate(self.down_blocks):
            for index, resnet in enumerate(module.resnets):  # type: ignore[arg-type]
                x = run.block(resnet, x, embedding)
                if getattr(module, "has_cross_attention", False):
                    x = transformer(f"down_blocks.{stage}.attentions.{index}", x)
                skips.append(x)
            for downsampler in module.downsamplers or ():  # type: ignore[union-attr]
                x = downsampler(x)
                skips.append(x)

        x = run.block(self.mid_block.resnets[0], x, embedding)
        for index, after in enumerate(self.mid_block.resnets[1:]):
            x = run.block(after, transformer(f"mid_block.attentions.{index}", x), embedding)

        for stage, module in enumerate(self.up_blocks):
            for index, resnet in enumerate(module.resnets):  # type: ignore[arg-type]
                x = run.block(resnet, torch.cat([x, skips.pop()], dim=1), embedding)
                if getattr(module, "has_cross_attention", False):
                    x = transformer(f"up_blocks.{stage}.attentions.{index}", x)
            for upsampler in module.upsamplers or ():  # type: ignore[union-attr]
                x = upsampler(x)
        return features

    def transformers(self) -> list[tuple[str, nn.Module]]:
        """The transformers by name, in the order in which they run."""
        stages = [f"down_blocks.{i}" for i in range(len(self.down_blocks))]
        stages += ["mid_block", *(f"up_blocks.{i}" for i in range(len(self.up_blocks)))]
        return [
            (f"{stage}.attentions.{index}", module)
            for stage in stages
            for index, module in enumerate(getattr(self.get_submodule(stage), "attentions", ()))
        ]

    def unused_modules(self) -> Iterator[nn.Module]:
        """What never gets a gradient: all behind the last feature, and what asks a single context token a question."""
        for _, transformer in self.transformers():
            for block in transformer.transformer_blocks:  # type: ignore[union-attr]
                yield from (block.norm2, block.attn2.to_q, block.attn2.to_k)
        last = self.transformers()[-1][1]
        block = last.transformer_blocks[-1]  # type: ignore[index]
        yield from (block.attn1, block.attn2, block.norm3, block.ff, last.proj_out)  # type: ignore[misc]
        yield from (self.conv_norm_out, self.conv_out)


def spatial_transformer(
    module: nn.Module, x: Tensor, context: Tensor, run: Execution, stop: bool
) -> tuple[Tensor, list[Tensor]]:
    """diffusers' `Transformer2DModel` with linear projections. x: (B, C, h, w), returned likewise, with the features of
    its blocks; with `stop`, nothing behind the last feature is computed."""
    height, width = x.shape[-2:]
    tokens = module.proj_in(module.norm(x).flatten(2).transpose(1, 2))  # type: ignore[operator]
    features = []
    blocks = list(module.transformer_blocks)  # type: ignore[arg-type]
    for block in blocks:
        normed = block.norm1(tokens)
        features.append(normed)
        if stop and block is blocks[-1]:
            return x, features
        tokens = tokens + self_attention(block.attn1, normed)
        tokens = tokens + cross_attention(block.attn2, tokens[:, None], context)[:, 0]
        tokens = tokens + run.feed_forward(block.ff, block.norm3(tokens))
    picture = module.proj_out(tokens).transpose(1, 2).unflatten(2, (height, width))  # type: ignore[operator]
    return picture.contiguous() + x, features
