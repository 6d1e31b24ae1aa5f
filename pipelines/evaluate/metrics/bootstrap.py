"""Confidence intervals by drawing whole videos again: frames of one video are far from independent."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
LEAST = 3


def of_mean(
    sums: NDArray[np.float64], counts: NDArray[np.float64], resamples: int, seed: int
) -> tuple[float, float] | None:
    """The 95 % interval of sum(sums) / sum(counts), each (videos,), over draws of videos with replacement.

    None for fewer than three videos that count, or without resamples: there is nothing to draw from.
    """
    used = counts > 0
    sums, counts = sums[used], counts[used]
    if len(sums) < LEAST or resamples < 1:
        return None
    drawn = np.random.default_rng(seed).integers(0, len(sums), (resamples, len(sums)))
    return _percentiles(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))


def of_statistic(
    value: float, videos: int, statistic: Callable[[Sequence[int]], float], resamples: int, seed: int
) -> tuple[float, float] | None:
    """About the same for a statistic of a list of videos' numbers, such as a Frechet distance: 1.96 standard deviations
    of the draws to each side of `value`, since such draws are too dear for many of them.

    Drawing with replacement leaves fewer different samples, which alone makes a Frechet distance larger: the draws'
    mean is therefore not used.
    """
    if videos < LEAST or resamples < 2:
        return None
    generator = np.random.default_rng(seed)
    draws = [statistic(generator.integers(0, videos, videos).tolist()) for _ in range(resamples)]
    reach = 1.96 * float(np.std(draws, ddof=1))
    return value - reach, value + reach


def _percentiles(draws: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
