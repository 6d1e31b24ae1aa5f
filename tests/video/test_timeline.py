from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.video.timeline import COMMON_RATES, measure

MS = Fraction(1, 1000)
FINE = Fraction(1, 90000)


def stamps(rate: Fraction, n: int, clock: Fraction, start: float = 0.0) -> list[int]:
    return [round((start + float(i / rate)) / float(clock)) for i in range(n)]


@pytest.mark.parametrize("rate", COMMON_RATES)
def test_every_common_rate_is_recognised_exactly(rate: Fraction) -> None:
    line = measure(stamps(rate, 400, FINE), FINE, [rate])
    assert line is not None
    assert (line.fps, line.variable) == (rate, False)


def test_milliseconds_of_matroska_do_not_hide_ntsc() -> None:
    line = measure(stamps(Fraction(30000, 1001), 300, MS), MS)
    assert line is not None
    assert (line.fps, line.variable) == (Fraction(30000, 1001), False)


def test_jitter_of_a_phone_is_still_constant() -> None:
    jitter = np.random.default_rng(0).integers(-4, 5, 300)
    line = measure([s + int(j) for s, j in zip(stamps(Fraction(30), 300, MS), jitter, strict=True)], MS)
    assert line is not None
    assert (line.fps, line.variable) == (30, False)


def test_dropped_frames_leave_the_rate_alone() -> None:
    kept = [s for i, s in enumerate(stamps(Fraction(30), 300, FINE)) if i % 17]
    line = measure(kept, FINE)
    assert line is not None
    assert (line.fps, line.variable) == (30, False)


def test_a_missing_end_in_coding_order_leaves_the_rate_alone() -> None:
    whole = stamps(Fraction(24), 200, FINE)
    line = measure([*whole[:190], whole[192], whole[196]], FINE)
    assert line is not None
    assert (line.fps, line.variable) == (24, False)


def test_intervals_without_a_common_grid_are_variable() -> None:
    intervals = np.random.default_rng(0).choice([33, 41, 50], 200)
    line = measure(np.cumsum(intervals).tolist(), MS)
    assert line is not None
    assert line.variable
    assert float(line.fps) == pytest.approx(1000 / intervals[1:].mean(), rel=0.02)


def test_a_long_freeze_does_not_lower_the_rate() -> None:
    first = stamps(Fraction(30), 100, MS)
    line = measure(first + stamps(Fraction(30), 100, MS, start=60.01), MS)
    assert line is not None
    assert float(line.fps) == pytest.approx(30, rel=0.02)


def test_negative_and_repeated_stamps_are_harmless() -> None:
    line = measure([s - 5000 for s in stamps(Fraction(25), 100, MS)] * 2, MS)
    assert line is not None
    assert (line.fps, line.origin) == (25, pytest.approx(-5.0, abs=1e-3))


@pytest.mark.parametrize("ticks", [[], [7], [7, 7, 7]])
def test_fewer_than_two_stamps_have_no_rate(ticks: list[int]) -> None:
    assert measure(ticks, MS) is None


def test_a_claim_that_contradicts_the_stamps_is_not_believed() -> None:
    line = measure(stamps(Fraction(25), 100, FINE), FINE, [Fraction(90000), Fraction(1000)])
    assert line is not None
    assert line.fps == 25


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-(2**40), 2**40), min_size=2, max_size=60, unique=True))
def test_any_stamps_give_a_positive_rate(ticks: list[int]) -> None:
    line = measure(ticks, FINE)
    assert line is not None
    assert line.fps > 0
    assert line.duration > 0
