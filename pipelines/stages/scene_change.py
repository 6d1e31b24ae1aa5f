"""Sudden changes of the whole picture, for clips that were split badly."""

from __future__ import annotations

import numpy as np

from pipelines.clip import Floats, Frames

BINS = 4
GRID = 2


def colour_histogram(frame: Frames) -> Floats:
    """Shares of pixels (GRID * GRID * BINS^3,) by quarter of the frame (H, W, 3) and colour; a quarter sums to 1."""
    step = max(1, min(frame.shape[:2]) // 64)
    small = frame[::step, ::step]
    codes = (small // (256 // BINS)).astype(np.int64) @ np.array([BINS * BINS, BINS, 1])
    rows = np.arange(codes.shape[0]) * GRID // codes.shape[0]
    columns = np.arange(codes.shape[1]) * GRID // codes.shape[1]
    codes += (rows[:, None] * GRID + columns) * BINS**3
    counts = np.bincount(codes.ravel(), minlength=GRID * GRID * BINS**3).astype(np.float32)
    quarters = counts.reshape(GRID * GRID, -1)
    return (quarters / np.maximum(quarters.sum(axis=1, keepdims=True), 1)).ravel()


class ChangeMeter:
    """Feed it every frame; `cut` says how strong the strongest cut is."""

    def __init__(self) -> None:
        self.changes: list[float] = []
        self._last: Floats | None = None

    def add(self, frame: Frames) -> None:
        histogram = colour_histogram(frame)
        if self._last is not None:
            self.changes.append(float(np.abs(histogram - self._last).sum()) / (2 * GRID * GRID))
        self._last = histogram

    def cut(self) -> float:
        """0..1: the largest change between two frames less the largest of its neighbours' (two on each side).

        A cut changes the picture once; fast motion changes it again and again, and a flash twice.
        """
        changes = np.array(self.changes)
        strongest = 0.0
        for at, change in enumerate(changes):
            around = np.concatenate([changes[max(0, at - 2) : at], changes[at + 1 : at + 3]])
            strongest = max(strongest, float(change - around.max(initial=0.0)))
        return strongest
