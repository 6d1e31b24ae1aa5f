"""Intervals over videos."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.evaluate.metrics.bootstrap import of_mean, of_statistic


def test_the_interval_of_a_mean_is_as_wide_as_theory_says() -> None:
    generator = np.random.default_rng(0)
    means = generator.normal(5, 2, 400)
    interval = of_mean(means * 10, np.full(400, 10.0), 2000, 0)
    assert interval is not None
    low, high = interval
    assert (low + high) / 2 == pytest.approx(means.mean(), abs=0.02)
    assert (high - low) / 2 == pytest.approx(1.96 * means.std() / 20, rel=0.1)


def test_it_covers_the_truth_about_nineteen_times_in_twenty() -> None:
    generator = np.random.default_rng(1)
    hits = 0
    for trial in range(300):
        values = generator.normal(0, 1, 40)
        low, high = of_mean(values, np.ones(40), 400, trial) or (0, 0)
        hits += low <= 0 <= high
    assert 0.88 < hits / 300 < 0.98


def test_videos_weigh_by_their_frames() -> None:
    low, high = of_mean(np.array([0.0, 0.0, 1000.0]), np.array([1.0, 1.0, 1000.0]), 500, 0) or (0, 0)
    assert high == pytest.approx(1)
    assert low == pytest.approx(0)


def test_the_same_seed_gives_the_same_interval_and_two_videos_none() -> None:
    values = np.arange(5.0)
    assert of_mean(values, np.ones(5), 100, 3) == of_mean(values, np.ones(5), 100, 3)
    assert of_mean(values[:2], np.ones(2), 100, 3) is None
    assert of_statistic(1.0, 2, lambda drawn: 0.0, 30, 0) is None
    assert of_statistic(1.0, 9, lambda drawn: 0.0, 0, 0) is None


def test_the_interval_of_a_statistic_lies_about_its_value() -> None:
    values = np.random.default_rng(2).normal(3, 1, 100)
    interval = of_statistic(float(values.mean()), 100, lambda drawn: float(values[list(drawn)].mean()), 200, 0)
    assert interval is not None
    low, high = interval
    assert (low + high) / 2 == pytest.approx(values.mean())
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / 10, rel=0.2)
