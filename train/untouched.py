"""Using the weights between two training steps without leaving a trace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import nn

from train.masters import Masters
from train.ranks import Ranks


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; each submodule's own mode and torch's random numbers come back afterwards."""
    modes = {part: part.training for part in module.modules()}
    device = next(module.parameters()).device
    with torch.no_grad(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        module.eval()
        try:
            yield
        finally:
            for part, mode in modes.items():
                part.training = mode


@contextmanager
def averaged(masters: Masters, named: Mapping[str, nn.Parameter], ranks: Ranks) -> Iterator[None]:
    """The moving average in the place of the weights; the same bits come back afterwards. ZeRO 0 to 2; collective."""
    before = {name: parameter.data.clone() for name, parameter in named.items()}
    own = {fragment.name: fragment for fragment in masters.fragments}
    try:
        for name, parameter in named.items():
            whole = torch.zeros(parameter.numel(), dtype=torch.float32, device=parameter.device)
            fragment = own.get(name)
            if fragment is not None and (fragment.written or ranks.count == 1):
                whole[fragment.start : fragment.start + fragment.length] = masters.tensor("average", fragment)
            if ranks.count > 1:
                dist.all_reduce(whole)
            parameter.data.copy_(whole.view_as(parameter))
        yield
    finally:
        for name, parameter in named.items():
            parameter.data.copy_(before[name])
