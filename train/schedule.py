"""Numbers that are functions of the step alone, so that nothing of them has to be saved."""

from __future__ import annotations

import math

from train.settings import EmaSettings, OptimiserSettings


def learning_rate(settings: OptimiserSettings, step: int, steps: int) -> float:
    """Of the step with number `step` (0, 1, ...) of a run of `steps`: linear warm-up, then constant or half a
    cosine."""
    if step < settings.warmup:
        return settings.learning_rate * (step + 1) / settings.warmup
    if settings.schedule == "constant":
        return settings.learning_rate
    done = min(1.0, (step - settings.warmup) / max(1, steps - settings.warmup))
    share = settings.final_share + (1 - settings.final_share) * (1 + math.cos(math.pi * done)) / 2
    return settings.learning_rate * share


def average_decay(settings: EmaSettings, step: int) -> float:
    """The decay of the moving average after the step with number `step`."""
    return min(settings.decay, (1 + step) / (10 + step)) if settings.warmup else settings.decay
