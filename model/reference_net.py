"""The ReferenceNet: Stable Diffusion 2.1's UNet, read once per clip for the features of its spatial transformers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from model.attention import cross_attention, self_attention
from model.execution import Execution
from model.traversal import Step, steps, walk

PLAIN = Execution()


class ReferenceNet(UNet2DConditionModel):
    """diffusers' class with its configuration, parameters and names; `forward` is our own, up to the last feature.

    Runs at timestep 0 with the CLIP token as its context. Its transformer blocks have the names of SVD's spatial ones:
    the pairing needs no table.
    """

    def forward(self, latent: Tensor, context: Tensor, run: Execution = PLAIN) -> dict[str, Tensor]:
        """latent: (B, 4, h, w), the clean reference, scaled. context: (B, 1, width).

        Returns, for every transformer block by name, what enters its self-attention: `norm1(hidden)`, (B, S, C).
        """
        features: dict[str, Tensor] = {}
        timestep = torch.zeros(len(latent), device=latent.device)
        embedding = self.time_embedding(self.time_proj(timestep).to(latent.dtype))
        way, _ = self._ways()

        def transformer(name: str, module: Any, x: Tensor) -> Tensor:
            x, found = run.block(spatial_transformer, module, x, context, run, name == way[-1].name)
            features.update({f"{name}.transformer_blocks.{index}": tokens for index, tokens in enumerate(found)})
            return x

        walk(self, way, self.conv_in(latent), lambda module, x: run.block(module, x, embedding), transformer)
        return features

    def unused_modules(self) -> Iterator[nn.Module]:
        """What never gets a gradient: all behind the last feature, and what asks a single context token a question."""
        way, beyond = self._ways()
        transformers: list[Any] = [self.get_submodule(step.name) for step in way if step.kind == "transformer"]
        for transformer in transformers:
            for block in transformer.transformer_blocks:
                yield from (block.norm2, block.attn2.to_q, block.attn2.to_k)
        last = transformers[-1].transformer_blocks[-1]
        yield from (last.attn1, last.attn2, last.norm3, last.ff, transformers[-1].proj_out)
        yield from (self.get_submodule(step.name) for step in beyond)
        yield from (self.conv_norm_out, self.conv_out)

    def _ways(self) -> tuple[list[Step], list[Step]]:
        """Up to the last transformer, and beyond it."""
        way = steps(self)
        end = max(index for index, step in enumerate(way) if step.kind == "transformer") + 1
        return way[:end], way[end:]


def spatial_transformer(
    module: Any, x: Tensor, context: Tensor, run: Execution, stop: bool
) -> tuple[Tensor, list[Tensor]]:
    """diffusers' `Transformer2DModel` with linear projections. x: (B, C, h, w), returned likewise, with the features of
    its blocks; with `stop`, nothing behind the last feature is computed."""
    height, width = x.shape[-2:]
    tokens = module.proj_in(module.norm(x).flatten(2).transpose(1, 2))
    features = []
    blocks = list(module.transformer_blocks)
    for block in blocks:
        normed = block.norm1(tokens)
        features.append(normed)
        if stop and block is blocks[-1]:
            return x, features
        tokens = tokens + self_attention(block.attn1, normed)
        tokens = tokens + cross_attention(block.attn2, tokens[:, None], context)[:, 0]
        tokens = tokens + run.feed_forward(block.ff, block.norm3(tokens))
    picture = module.proj_out(tokens).transpose(1, 2).unflatten(2, (height, width))
    return picture.contiguous() + x, features
