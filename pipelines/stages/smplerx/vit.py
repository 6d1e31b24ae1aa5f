"""The vision transformer of SMPLer-X: ViTPose's encoder with learned task tokens in front of the patches.

The module names are those of the published checkpoints. Source: ViTPose (Xu et al. 2022); SMPLer-X (Cai et al. 2023)
main/transformer_utils/mmpose/models/backbones/vit.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

PATCH = 16
PATCH_ROWS, PATCH_COLUMNS = 16, 12
# One each for shape, camera, expression and jaw, two for the hands, 25 for the joints of the body.
TASK_TOKENS = 31


@dataclass(frozen=True)
class EncoderSize:
    """name: the letter in the checkpoint's name. width: features of a token."""

    name: str
    width: int
    depth: int
    heads: int

    @property
    def checkpoint(self) -> str:
        return f"smpler_x_{self.name}32.pth.tar"


SIZES = {
    size.name: size
    for size in (
        EncoderSize("s", 384, 12, 12),
        EncoderSize("b", 768, 12, 12),
        EncoderSize("l", 1024, 24, 16),
        EncoderSize("h", 1280, 32, 16),
    )
}


class PatchEmbedding(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, stride=PATCH, padding=2)

    def forward(self, image: Tensor) -> Tensor:
        return self.proj(image).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, count, width = tokens.shape
        query, key, value = self.qkv(tokens).view(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value)
        return self.proj(attended.transpose(1, 2).reshape(batch, count, width))


class FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(tokens)))


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = FeedForward(width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class Encoder(nn.Module):
    def __init__(self, size: EncoderSize) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding(size.width)
        self.task_tokens = nn.Parameter(torch.zeros(1, TASK_TOKENS, size.width))
        # The first position was that of a class token; the published code adds it to every patch.
        self.pos_embed = nn.Parameter(torch.zeros(1, PATCH_ROWS * PATCH_COLUMNS + 1, size.width))
        self.blocks = nn.ModuleList(Block(size.width, size.heads) for _ in range(size.depth))
        self.last_norm = nn.LayerNorm(size.width, eps=1e-6)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """image: (N, 3, 256, 192), RGB, 0 to 1. Returns features (N, width, 16, 12) and task tokens (N, 31, width)."""
        patches = self.patch_embed(image) + self.pos_embed[:, 1:] + self.pos_embed[:, :1]
        tokens = torch.cat([self.task_tokens.expand(len(image), -1, -1), patches], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.last_norm(tokens)
        features = tokens[:, TASK_TOKENS:].transpose(1, 2).reshape(len(image), -1, PATCH_ROWS, PATCH_COLUMNS)
        return features, tokens[:, :TASK_TOKENS]
