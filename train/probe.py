"""One forward and backward pass before training: what gets a gradient, what is kept for the backward pass, how much
arithmetic a clip is. Weights and gradients are left as they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from train.stream.batch import TrainBatch

ATTENTION_STEP = 3.5
OTHER_STEP = 3.0
"""Work of a training step in units of a forward pass: fused attention recomputes its scores in the backward pass."""


@dataclass(frozen=True)
class Probe:
    """unused: trainable parameters without a gradient though every condition was given. saved_bytes: tensors kept for
    the backward pass, each once, weights left out. step_flops: of forward and backward of this batch, recomputation
    left out.
    """

    unused: tuple[str, ...]
    saved_bytes: int
    step_flops: float


def probe(module: nn.Module, trainable: Mapping[str, nn.Parameter], batch: TrainBatch) -> Probe:
    """Run `module(batch, everything=True)` in its present precision, before an engine wraps it."""
    own = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    counter = FlopCounterMode(display=False)
    with counter, saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = module(batch, everything=True)
    saved = sum(kept.values())
    gradients = torch.autograd.grad(loss, list(trainable.values()), allow_unused=True)
    unused = tuple(name for name, gradient in zip(trainable, gradients) if gradient is None)
    return Probe(unused, saved, _step_flops(counter))


def _step_flops(counter: FlopCounterMode) -> float:
    total = 0.0
    for operator, flops in counter.get_flop_counts()["Global"].items():
        total += flops * (ATTENTION_STEP if "attention" in str(operator) else OTHER_STEP)
    return total
