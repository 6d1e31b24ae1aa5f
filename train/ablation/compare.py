"""Variants against the full model, pair by pair, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
CONFIDENCE = 0.95
FEWEST_PEOPLE = 3


@dataclass(frozen=True)
class Difference:
    """How much worse a variant is than the full model, mean over windows and seeds; low, high: 95 %, drawn over people,
    NaN for fewer than `FEWEST_PEOPLE`.

    seeds: the mean of each seed alone. windows: how many have a value.
    """

    mean: float
    low: float
    high: float
    seeds: tuple[float, ...]
    windows: int

    @property
    def sure(self) -> bool:
        """The interval leaves out 0, and all seeds say the same."""
        sign = np.sign(self.mean)
        return bool((self.low > 0 or self.high < 0) and all(np.sign(seed) == sign for seed in self.seeds))


def decibels(errors: Floats) -> Floats:
    """Mean squared errors of pixels in 0..1 as PSNR."""
    return np.asarray(-10 * np.log10(np.maximum(errors, 1e-10)), np.float64)


def difference(worse: Sequence[Floats], people: Sequence[str], resamples: int) -> Difference:
    """worse: for every seed (windows,), by how much the variant is worse; NaN where a window has no value.

    People are drawn again with all their windows: windows of one person are far from independent. Which people are
    drawn depends on `people` alone, so that all comparisons see the same draws.
    """
    by_window = np.stack(worse)
    names = sorted(set(people))
    place = np.array([names.index(person) for person in people])
    known = ~np.isnan(by_window).any(axis=0)
    if not known.any():
        nothing = float("nan")
        return Difference(nothing, nothing, nothing, (nothing,) * len(by_window), 0)
    values = by_window[:, known].mean(axis=0)
    sums = np.bincount(place[known], values, len(names))
    counts = np.bincount(place[known], minlength=len(names))
    drawn = np.random.default_rng(0).integers(len(names), size=(resamples, len(names)))
    total = counts[drawn].sum(axis=1)
    means = sums[drawn].sum(axis=1)[total > 0] / total[total > 0]
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    if len(set(place[known])) < FEWEST_PEOPLE:
        low = high = np.nan
    seeds = tuple(float(seed[known].mean()) for seed in by_window)
    return Difference(float(values.mean()), float(low), float(high), seeds, int(known.sum()))


def all_differences(
    values: Mapping[tuple[str, int], Floats], full: str, people: Sequence[str], resamples: int
) -> dict[str, list[Difference]]:
    """values: of each (variant, seed) PSNR or the like, more is better, (columns, windows). Returns, for every variant
    but `full`, the differences of the columns."""
    seeds = sorted({seed for _, seed in values})
    result = {}
    for variant in dict.fromkeys(name for name, _ in values if name != full):
        worse = [values[full, seed] - values[variant, seed] for seed in seeds]
        columns = len(worse[0])
        result[variant] = [difference([one[c] for one in worse], people, resamples) for c in range(columns)]
    return result
