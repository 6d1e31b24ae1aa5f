"""Kernel Inception distance: the unbiased estimate of the squared maximum mean discrepancy.

Source: Binkowski et al. 2018, kernel (x . y / d + 1)^3. Over all features rather than random subsets, so that it is the
same on every run; in blocks, so that memory stays small.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.evaluate.metrics.frechet import TooFew

BLOCK = 2048


def kid(generated: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    """Of features (n, d) and (m, d). Can be a little below 0. Raises TooFew below two each."""
    n, m = len(generated), len(truth)
    if min(n, m) < 2:
        raise TooFew(f"KID needs two feature vectors a side, there are {n} and {m}")
    x, y = generated.astype(np.float64), truth.astype(np.float64)
    within = (_sum(x, x) - _diagonal(x)) / (n * (n - 1)) + (_sum(y, y) - _diagonal(y)) / (m * (m - 1))
    return float(within - 2 * _sum(x, y) / (n * m))


def _sum(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    total = 0.0
    for start in range(0, len(x), BLOCK):
        for other in range(0, len(y), BLOCK):
            total += float(((x[start : start + BLOCK] @ y[other : other + BLOCK].T / x.shape[1] + 1) ** 3).sum())
    return total


def _diagonal(x: NDArray[np.float64]) -> float:
    return float((((x * x).sum(axis=1) / x.shape[1] + 1) ** 3).sum())
