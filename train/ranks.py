"""The ranks of a run, and the small things they tell each other: plain Python values over gloo, beside the
gradients."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process among the `count` of a run. All methods are collective: every rank calls them, in the same order."""

    rank: int
    count: int
    device: torch.device
    group: Any = field(repr=False, default=None)

    @classmethod
    def join(cls) -> Ranks:
        """The ranks that the launcher started; a single one without a launcher."""
        from train.engine import start_distributed

        rank, count, device = start_distributed()
        return cls(rank, count, device, dist.new_group(backend="gloo") if count > 1 else None)

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes the log and talks."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """The values of all ranks, by rank, on every rank."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value, group=self.group)
        return values

    def from_first(self, value: T) -> T:
        """The value of rank 0, on every rank."""
        if self.count == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self.group)
        return values[0]

    def wait(self) -> None:
        """Until every rank is here."""
        if self.count > 1:
            dist.barrier(group=self.group)
