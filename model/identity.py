"""The identity controller: a face vector becomes tokens, and keys and values for every cross-attention (Eq. 3, 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from model.conditions import KeyValue
from model.config import IdentityConfig


class IdentityAdapter(nn.Module):
    """Keys and values of the identity tokens for one cross-attention, whose queries and output are shared."""

    def __init__(self, context: int, channels: int) -> None:
        super().__init__()
        self.to_k = nn.Linear(context, channels, bias=False)
        self.to_v = nn.Linear(context, channels, bias=False)
        nn.init.zeros_(self.to_v.weight)  # At step 0 the network is SVD.


class IdentityController(nn.Module):
    """embedding -> MLP -> M tokens as wide as the CLIP token -> keys and values.

    `adapters` nests as the UNet does, so that an adapter has the name of the cross-attention it stands beside.
    """

    def __init__(self, config: IdentityConfig, context: int, cross_attentions: Mapping[str, int]) -> None:
        """cross_attentions: the channels of the UNet's cross-attentions, by name."""
        super().__init__()
        self.tokens = config.tokens
        self.names = tuple(cross_attentions)
        first, last = nn.Linear(config.embedding, context), nn.Linear(context, context * config.tokens)
        for layer, gain in ((first, config.embedding**0.5), (last, 2**0.5)):
            # A vector of length 1 has small entries: with torch's own start the biases outweigh it, and all faces
            # begin with nearly the same tokens.
            nn.init.normal_(layer.weight, std=gain / layer.in_features**0.5)
            nn.init.zeros_(layer.bias)
        self.project = nn.Sequential(first, nn.GELU(), last)
        self.norm = nn.LayerNorm(context)
        self.adapters = nn.Module()
        for name, channels in cross_attentions.items():
            _put(self.adapters, name, IdentityAdapter(context, channels))
        if not cross_attentions:
            self.requires_grad_(False)

    def forward(self, embedding: Tensor, given: Tensor) -> dict[str, KeyValue]:
        """embedding: (B, 512), of length 1; given: bool (B,). Keys and values (B, M, C), by cross-attention; where no
        face is given the values are zero, so that nothing is added, and no gradient comes back."""
        given = given.to(embedding.device)
        embedding = embedding.where(given[:, None], torch.zeros_like(embedding))
        tokens = self.norm(self.project(embedding).unflatten(1, (self.tokens, -1)))
        result = {}
        for name in self.names:
            adapter: Any = self.adapters.get_submodule(name)
            values = adapter.to_v(tokens)
            result[name] = (adapter.to_k(tokens), values * given[:, None, None].to(values.dtype))
        return result


def _put(root: nn.Module, name: str, module: nn.Module) -> None:
    *path, leaf = name.split(".")
    for part in path:
        if part not in root._modules:
            root.add_module(part, nn.Module())
        root = root.get_submodule(part)
    root.add_module(leaf, module)
