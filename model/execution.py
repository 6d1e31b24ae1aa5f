"""How the blocks of the networks are run: what is recomputed in the backward pass, what is compiled.

Changes memory and speed, never the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

CheckpointingPolicy = Literal["none", "feed_forward", "full"]
POLICIES: tuple[str, ...] = get_args(CheckpointingPolicy)


@dataclass(frozen=True)
class Execution:
    """checkpointing: nothing is recomputed, only the feed-forwards of the transformers (their 8-fold wide inner tensors
    are the largest that are kept), or every resnet, transformer and pose encoder.
    compiled: the compiled form of a block function, for those that have one."""

    checkpointing: CheckpointingPolicy = "none"
    compiled: dict[Callable[..., Any], Callable[..., Any]] = field(default_factory=dict)

    def block(self, function: Callable[..., Any], *arguments: Any) -> Any:
        function = self.compiled.get(function, function)
        if self.checkpointing == "full" and torch.is_grad_enabled():
            return checkpoint(function, *arguments, use_reentrant=False)
        return function(*arguments)

    def feed_forward(self, layer: nn.Module, x: Tensor) -> Tensor:
        if self.checkpointing == "feed_forward" and torch.is_grad_enabled():
            result: Tensor = checkpoint(layer, x, use_reentrant=False)
            return result
        return layer(x)
