"""Storing the arrays small, plain and the same bytes every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Skin weights are stored as multiples of 1/1024, which float16 holds exactly, so that rows still sum to 1 exactly.
WEIGHT_STEPS = 1024
# 0.06 mm, a power of two, so that float16 holds small multiples of it exactly.
OFFSET_STEP = 2.0**-14


def quantised_weights(weights: NDArray[np.float64]) -> NDArray[np.float16]:
    """Round rows that sum to 1 to multiples of 1/1024 that sum to 1, giving the rest to the largest remainders."""
    scaled = weights / weights.sum(axis=1, keepdims=True) * WEIGHT_STEPS
    floor = np.floor(scaled)
    missing = np.rint(WEIGHT_STEPS - floor.sum(axis=1)).astype(np.int64)
    ranked = np.argsort(-(scaled - floor), axis=1, kind="stable")
    for row, extra in enumerate(missing):
        floor[row, ranked[row, :extra]] += 1
    return (floor / WEIGHT_STEPS).astype(np.float16)


def rounded(offsets: NDArray[np.float64]) -> NDArray[np.float16]:
    """Metres to float16 in steps of OFFSET_STEP: small numbers without noise in their last bits compress well."""
    return (np.rint(offsets / OFFSET_STEP) * OFFSET_STEP).astype(np.float16)


def write(path: Path, arrays: dict[str, NDArray]) -> None:
    """A compressed npz of plain arrays, keys in the given order. Its bytes depend on the arrays alone."""
    with path.open("wb") as out:
        np.savez_compressed(out, allow_pickle=False, **arrays)
