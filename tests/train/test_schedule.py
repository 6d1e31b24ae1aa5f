"""Rates and decays are functions of the step alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.schedule import average_decay, learning_rate
from train.settings import EmaSettings, OptimiserSettings


def test_the_rate_rises_linearly_and_then_stays():
    settings = OptimiserSettings(learning_rate=1.0, warmup=4)
    rates = [learning_rate(settings, step, 100) for step in range(6)]
    assert rates == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_the_cosine_ends_at_its_final_share():
    settings = OptimiserSettings(learning_rate=1.0, warmup=0, schedule="cosine", final_share=0.1)
    assert learning_rate(settings, 0, 100) == 1.0
    assert learning_rate(settings, 50, 100) == pytest.approx(0.55)
    assert learning_rate(settings, 100, 100) == pytest.approx(0.1)


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.integers(0, 1000))
def test_the_rate_stays_between_zero_and_the_one_that_was_asked_for(step: int, steps: int, warmup: int):
    settings = OptimiserSettings(learning_rate=2.0, warmup=warmup, schedule="cosine")
    assert 0 < learning_rate(settings, step, steps) <= 2.0


def test_the_average_first_forgets_its_start_and_then_decays_as_asked():
    settings = EmaSettings(decay=0.99)
    assert average_decay(settings, 0) == 0.1
    assert average_decay(settings, 10**6) == 0.99
    assert average_decay(EmaSettings(decay=0.99, warmup=False), 0) == 0.99
