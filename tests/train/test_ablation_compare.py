"""Paired differences and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.ablation.compare import all_differences, decibels, difference
from train.ablation.score import strangers_of

PEOPLE = tuple(f"p{number // 3}" for number in range(30))


def test_a_constant_difference_is_sure() -> None:
    found = difference([np.full(30, 0.4), np.full(30, 0.6)], PEOPLE, 200)
    assert (found.mean, found.low, found.high, *found.seeds) == pytest.approx((0.5, 0.5, 0.5, 0.4, 0.6))
    assert found.sure


def test_seeds_that_disagree_are_not_sure() -> None:
    found = difference([np.full(30, 1.0), np.full(30, -0.1)], PEOPLE, 200)
    assert found.low > 0
    assert not found.sure


def test_noise_is_not_sure() -> None:
    rng = np.random.default_rng(0)
    assert not difference([rng.normal(size=30), rng.normal(size=30)], PEOPLE, 500).sure


def test_people_are_drawn_whole() -> None:
    by_person = np.repeat(np.random.default_rng(1).normal(size=10), 3)
    whole = difference([by_person], PEOPLE, 2000)
    apart = difference([by_person], tuple(map(str, range(30))), 2000)
    assert whole.high - whole.low > 1.4 * (apart.high - apart.low)


def test_windows_without_a_value_are_left_out() -> None:
    worse = np.full(30, 2.0)
    worse[::2] = np.nan
    found = difference([worse], PEOPLE, 100)
    assert (found.mean, found.windows) == (2.0, 15)


def test_two_people_give_no_interval() -> None:
    found = difference([np.full(6, 1.0)], ("a", "a", "a", "b", "b", "b"), 100)
    assert found.mean == 1.0
    assert np.isnan(found.low)
    assert not found.sure


def test_nothing_known_is_no_number() -> None:
    found = difference([np.full(30, np.nan)], PEOPLE, 100)
    assert np.isnan(found.mean)
    assert not found.sure


@given(st.floats(1e-4, 0.5), st.floats(1.01, 10))
def test_a_larger_error_is_worse_by_its_ratio_in_decibels(error: float, ratio: float) -> None:
    levels = {("full", 0): decibels(np.full((1, 30), error)), ("no_x", 0): decibels(np.full((1, 30), error * ratio))}
    found = all_differences(levels, "full", PEOPLE, 50)["no_x"][0]
    assert found.mean == pytest.approx(10 * np.log10(ratio))


def test_a_stranger_is_another_person() -> None:
    people = ["b", "a", "a", "c", "c", "b", "d"]
    strangers = strangers_of(people)
    assert strangers is not None
    assert all(people[other] != person for person, other in zip(people, strangers, strict=True))


def test_a_single_person_has_no_stranger() -> None:
    assert strangers_of(["a", "a"]) is None
