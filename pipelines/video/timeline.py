"""From the time stamps of a stream to its frame rate, and whether that rate is constant.

Headers lie (a phone's 30 is 29.97 with jitter, a broken muxer writes 90000), so the rate comes from the stamps
themselves and the headers are only asked for the exact fraction behind a measured number.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

COMMON_RATES = tuple(
    Fraction(n, d)
    for n, d in [
        (24000, 1001), (24, 1), (25, 1), (30000, 1001), (30, 1), (48, 1), (50, 1), (60000, 1001), (60, 1),
        (8, 1), (10, 1), (12, 1), (12500, 1000), (15000, 1001), (15, 1), (16, 1), (20, 1), (90, 1), (100, 1),
        (120000, 1001), (120, 1), (240000, 1001), (240, 1),
    ]
)  # fmt: skip

# A stamp may be this far from its grid slot, in frames, before the stream counts as variable: below half a frame every
# frame still has a slot of its own.
GRID_TOLERANCE = 0.45
# A stream on a grid may lack this share of its frames (dropped while recording, or lost with the end of a download).
MISSING = 0.25
# An interval this many times the median is a frozen picture or lost frames, and says nothing about the rate.
FREEZE = 4.0
# How far a variable stream's average may be moved to reach a common rate.
SNAP = 0.005


@dataclass(frozen=True)
class Timeline:
    """fps: the constant rate to write. variable: whether the stamps keep to no grid of that rate.
    origin: seconds, where slot 0 of the grid lies. duration: seconds, first stamp to the end of the last frame."""

    fps: Fraction
    variable: bool
    origin: float
    duration: float


def _grid_origin(seconds: NDArray[np.floating], fps: Fraction, tolerance: float) -> float | None:
    """The origin of a grid that has every stamp within `tolerance` seconds of a slot of its own, or None."""
    position = seconds * float(fps)
    # The mean on the circle is the phase of the grid, whichever stamps jitter and however many are missing.
    phase = float(np.angle(np.exp(2j * np.pi * position).mean())) / (2 * np.pi)
    slots = np.round(position - phase)
    rest = position - slots
    low, high = float(rest.min()), float(rest.max())
    missing = 1 - len(slots) / (slots[-1] - slots[0] + 1)
    if np.any(np.diff(slots) < 1) or high - low > 2 * tolerance * float(fps) or missing > MISSING:
        return None
    return float(slots[0] + (low + high) / 2) / float(fps)


def measure(ticks: Iterable[int], time_base: Fraction, nominal: Iterable[Fraction] = ()) -> Timeline | None:
    """The timeline of a stream, or None when fewer than two different stamps exist.

    ticks: presentation stamps in any order, in units of `time_base` seconds; negative ones are fine, repeated ones
    count once. nominal: what the headers claim, tried first as the exact fraction.
    """
    stamps = np.unique(np.fromiter(ticks, dtype=np.int64))
    if len(stamps) < 2:
        return None
    seconds = stamps.astype(np.float64) * float(time_base)
    intervals = np.diff(seconds)
    median = float(np.sort(intervals)[(len(intervals) - 1) // 2])
    usual = intervals[(intervals > 0.5 * median) & (intervals < 1.5 * median)]
    typical = Fraction(float(len(usual) / usual.sum()))

    def timeline(fps: Fraction, variable: bool, origin: float) -> Timeline:
        return Timeline(fps, variable, round(origin, 6) + 0.0, float(seconds[-1] - seconds[0]) + float(1 / fps))

    claimed = [rate for rate in nominal if abs(rate / typical - 1) < 0.05]
    common = sorted(COMMON_RATES, key=lambda rate: abs(rate / typical - 1))[:3]
    simple = [rate for limit in (1, 10, 1001, 100_000) if (rate := typical.limit_denominator(limit)) > 0]
    # First a rate that explains every stamp up to the rounding of the clock, then a simple one that leaves jitter.
    exact = [(rate, 0.51 * float(time_base)) for rate in (*claimed, *common)]
    jittered = [(rate, GRID_TOLERANCE / float(rate)) for rate in (*common, *claimed, *simple)]
    for rate, tolerance in (*exact, *jittered):
        if (origin := _grid_origin(seconds, rate, min(tolerance, GRID_TOLERANCE / float(rate)))) is not None:
            return timeline(rate, False, origin)

    steady = intervals[intervals <= FREEZE * median]
    mean = Fraction(float(len(steady) / steady.sum()))
    snapped = min(COMMON_RATES, key=lambda rate: abs(rate / mean - 1))
    fps = snapped if abs(snapped / mean - 1) <= SNAP else mean.limit_denominator(1001)
    return timeline(fps or Fraction(1, 1001), True, float(seconds[0]))
