"""The fp32 weights and their companions (Adam's moments, the average) that this rank holds, whatever the ZeRO stage.

DeepSpeed keeps fp32 weights in flat tensors, each rank a part. Here they are told as fragments of named parameters: a
run of elements of the flattened parameter, and where it lies in the flat tensor. A checkpoint made of fragments does
not depend on the stage or on the number of ranks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Fragment:
    """Elements start .. start + length of the flattened parameter `name` are elements offset .. offset + length of the
    flat tensor number `flat`. written: whether this rank writes it to a checkpoint (replicas are written once)."""

    name: str
    start: int
    length: int
    flat: int
    offset: int
    written: bool


class Masters:
    """flats: the fp32 tensors of this rank that the optimiser steps. average: per flat, its moving average, or
    empty."""

    def __init__(self, engine: Any, names: Mapping[str, nn.Parameter], rank: int, ranks: int) -> None:
        self.optimiser: torch.optim.Optimizer = engine.basic_optimizer
        self.flats: list[Tensor] = []
        self.average: list[Tensor] = []
        self.fragments = list(self._find(engine, names, rank, ranks))

    def _find(self, engine: Any, names: Mapping[str, nn.Parameter], rank: int, ranks: int) -> Iterator[Fragment]:
        stage = engine.zero_optimization_stage()
        if stage == 0:
            self.flats = list(names.values())
            for number, (name, parameter) in enumerate(names.items()):
                yield Fragment(name, 0, parameter.numel(), number, 0, number % ranks == rank)
        elif stage == 3:
            zero = engine.optimizer
            self.flats = list(zero.fp32_partitioned_groups_flat)
            for name, parameter in names.items():
                flat, offset, _ = zero.grad_position[zero.get_param_id(parameter)]
                part: int = parameter.ds_tensor.ds_numel  # type: ignore[attr-defined]
                length = min(part, _full_size(parameter) - rank * part)
                if length > 0:
                    yield Fragment(name, rank * part, length, flat, offset, True)
        else:
            zero = engine.optimizer
            bf16 = getattr(zero, "fp32_groups_flat_partition", None)
            self.flats = list(zero.single_partition_of_fp32_groups if bf16 is None else bf16)
            for name, parameter in names.items():
                here = parameter._hp_mapping  # type: ignore[attr-defined]
                if here is not None:
                    place, source = here.hp_fragment_address, here.lp_fragment_address
                    yield Fragment(name, source.start, source.numel, here.param_group_index, place.start, True)

    def tensor(self, kind: str, fragment: Fragment) -> Tensor:
        """A view (length,) of "weight", "average", "exp_avg" or "exp_avg_sq"."""
        flat = self.flats[fragment.flat]
        if kind == "average":
            whole = self.average[fragment.flat]
        elif kind == "weight":
            whole = flat.detach()
        else:
            whole = self.optimiser.state[flat][kind]
        return whole.view(-1).narrow(0, fragment.offset, fragment.length)

    def kinds(self) -> tuple[str, ...]:
        """What there is of each parameter now: moments only after the first optimiser step."""
        moments = MOMENTS if self.adam_step() else ()
        return ("weight", *moments, *(("average",) if self.average else ()))

    def adam_step(self) -> int:
        """Optimiser steps that were really taken: those that count for Adam's bias correction."""
        states = [self.optimiser.state[flat] for flat in self.flats if self.optimiser.state.get(flat)]
        return int(states[0]["step"]) if states else 0

    def set_adam_step(self, step: int) -> None:
        """Make the moments, zero where they are new, as after `step` steps."""
        for flat in self.flats:
            state = self.optimiser.state[flat]
            for kind in MOMENTS:
                if kind not in state:
                    state[kind] = torch.zeros_like(flat, requires_grad=False)
            where = flat.device if self.optimiser.defaults.get("fused") else "cpu"  # as torch's AdamW wants it
            state["step"] = torch.tensor(float(step), dtype=torch.float32, device=where)

    @torch.no_grad()
    def set_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over fp32 weights by name, which the cast to bf16 would have rounded."""
        for fragment in self.fragments:
            source = weights[fragment.name].detach().reshape(-1).narrow(0, fragment.start, fragment.length)
            self.tensor("weight", fragment).copy_(source)

    def start_average(self) -> None:
        self.average = [flat.detach().clone() for flat in self.flats]

    @torch.no_grad()
    def update_average(self, decay: float) -> None:
        """average = decay * average + (1 - decay) * weight, in fp32: in bf16 the small step would round to nothing."""
        torch._foreach_lerp_(self.average, [flat.detach() for flat in self.flats], 1.0 - decay)


def _full_size(parameter: nn.Parameter) -> int:
    """Under ZeRO 3 the parameter itself is empty."""
    size: int = parameter.ds_numel  # type: ignore[attr-defined]
    return size
