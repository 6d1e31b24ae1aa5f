"""What must not go unnoticed: steps that are not finite, and parameters that no gradient reaches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


class TrainingFailed(RuntimeError):
    """The run cannot go on. The message says why and where; the last checkpoint is whole."""


@dataclass
class SkippedSteps:
    """Counts optimiser steps that were left out since loss or gradient were not finite."""

    limit: int
    total: int = 0
    in_a_row: int = 0
    _keys: list[str] = field(default_factory=list)

    def count(self, step: int, skipped: bool, culprits: Sequence[str]) -> None:
        """After a step. culprits: keys of samples whose own loss was not finite. Raises `TrainingFailed` at the
        limit."""
        if not skipped:
            self.in_a_row = 0
            self._keys.clear()
            return
        self.total += 1
        self.in_a_row += 1
        self._keys += culprits
        if self.in_a_row >= self.limit:
            named = ", ".join(dict.fromkeys(self._keys)) or "none: every loss was finite, a gradient was not"
            raise TrainingFailed(
                f"loss or gradient was not finite in {self.in_a_row} steps in a row, the last was step {step}; samples "
                f"whose loss was not finite: {named}. Look at them with `vividpose inspect`, lower "
                "optimiser.learning_rate, or go back to an older checkpoint with --resume FOLDER"
            )


def poisoned(loss: Tensor) -> Tensor:
    """`loss`, with a gradient that is not finite where the loss is not: the optimisers skip the step on every rank."""
    factor = torch.where(torch.isfinite(loss.detach()), 1.0, float("nan"))  # outside the graph: 0 * nan would leak in
    return loss * factor


def refuse_unused(unused: Iterable[str]) -> None:
    """Raises `TrainingFailed` naming parameters that train but get no gradient."""
    names = sorted(unused)
    if names:
        shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        raise TrainingFailed(
            f"{len(names)} trainable parameters get no gradient even when every condition is given: {shown}. "
            "Freeze them (model.groups), or repair the network: under ZeRO they end in wrong or hanging reductions"
        )
