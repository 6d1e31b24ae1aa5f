"""The spatial and temporal transformer blocks of SVD, with the paper's conditions as arguments.

Written over diffusers' modules, so that names and published weights stay; equal to diffusers' own forward when no
reference and no identity is given (to 1e-5, tested).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from model.attention import ReferenceGiven, cross_attention, self_attention
from model.conditions import KeyValue
from model.execution import Execution


@dataclass(frozen=True)
class BlockConditions:
    """What one transformer of the UNet is given. Keys of the dictionaries: names within the UNet.

    context: (B, 1, width). reference: per spatial block, keys and values (B, S, C). reference_given: see
    `self_attention`. identity: per cross-attention, keys and values (B, M, C). frames: T.
    """

    context: Tensor
    reference: dict[str, KeyValue]
    reference_given: ReferenceGiven
    identity: dict[str, KeyValue]
    frames: int

    def of(self, transformer: str) -> BlockConditions:
        """Only what belongs to one transformer, by names within it: equal blocks look equal to the compiler."""
        start = f"{transformer}."
        reference = {name[len(start) :]: pair for name, pair in self.reference.items() if name.startswith(start)}
        identity = {name[len(start) :]: pair for name, pair in self.identity.items() if name.startswith(start)}
        return BlockConditions(self.context, reference, self.reference_given, identity, self.frames)


def spatio_temporal_transformer(
    module: Any, x: Tensor, conditions: BlockConditions, video_only: Tensor, run: Execution
) -> Tensor:
    """diffusers' `TransformerSpatioTemporalModel`. x: (B * T, C, h, w), returned likewise. video_only: zeros (B, T): no
    clip is a single picture, for which SVD would leave out the temporal part."""
    height, width = x.shape[-2:]
    clips, frames = video_only.shape
    tokens = module.proj_in(module.norm(x).flatten(2).transpose(1, 2))

    positions = module.time_proj(torch.arange(frames, device=x.device)).to(tokens.dtype)
    frame_embedding = module.time_pos_embed(positions)[:, None]

    for index, (spatial, temporal) in enumerate(
        zip(module.transformer_blocks, module.temporal_transformer_blocks, strict=True)
    ):
        tokens = spatial_block(spatial, f"transformer_blocks.{index}", tokens, conditions, run)
        moving = (tokens.unflatten(0, (clips, frames)) + frame_embedding).flatten(0, 1)
        moving = temporal_block(temporal, f"temporal_transformer_blocks.{index}", moving, conditions, run)
        tokens = module.time_mixer(x_spatial=tokens, x_temporal=moving, image_only_indicator=video_only)

    picture = module.proj_out(tokens).transpose(1, 2).unflatten(2, (height, width))
    result: Tensor = picture.contiguous() + x
    return result


def spatial_block(block: Any, name: str, x: Tensor, conditions: BlockConditions, run: Execution) -> Tensor:
    """diffusers' `BasicTransformerBlock`: attention within a frame, and to the reference. x: (B * T, S, C)."""
    reference = conditions.reference.get(name)
    x = x + self_attention(block.attn1, block.norm1(x), reference, conditions.reference_given)
    x = _attend_to_clip(block, name, x.unflatten(0, (-1, conditions.frames)), conditions).flatten(0, 1)
    return x + run.feed_forward(block.ff, block.norm3(x))


def temporal_block(block: Any, name: str, x: Tensor, conditions: BlockConditions, run: Execution) -> Tensor:
    """diffusers' `TemporalBasicTransformerBlock`: attention between the frames at each position. x: (B * T, S, C)."""
    x = x.unflatten(0, (-1, conditions.frames)).transpose(1, 2).contiguous()  # (B, S, T, C)
    x = x + run.feed_forward(block.ff_in, block.norm_in(x))
    x = x + self_attention(block.attn1, block.norm1(x).flatten(0, 1)).view_as(x)
    x = _attend_to_clip(block, name, x, conditions)
    x = x + run.feed_forward(block.ff, block.norm3(x))
    return x.transpose(1, 2).flatten(0, 1)


def _attend_to_clip(block: Any, name: str, x: Tensor, conditions: BlockConditions) -> Tensor:
    """Adds what the clip's CLIP token and identity tokens say. x: (B, T, S, C) or (B, S, T, C)."""
    name = f"{name}.attn2"
    identity = conditions.identity.get(name)
    # Without identity the query is unused, and so is its norm.
    queries = x if identity is None else block.norm2(x)
    return x + cross_attention(block.attn2, queries, conditions.context, identity)
