"""The noise levels: against diffusers and the published ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from diffusers.schedulers.scheduling_utils import AysSchedules
from hypothesis import given
from hypothesis import strategies as st

from model.schedule import ALIGN_YOUR_STEPS, align_your_steps_sigmas, karras_sigmas
from tests.model.stock_scheduler import svd_scheduler


@pytest.mark.parametrize("steps", [1, 2, 10, 25, 30])
def test_karras_levels_are_those_of_diffusers(steps: int) -> None:
    scheduler = svd_scheduler()
    scheduler.set_timesteps(steps)
    assert karras_sigmas(steps) == pytest.approx(scheduler.sigmas.tolist(), rel=1e-6)


def test_align_your_steps_are_the_published_levels() -> None:
    assert align_your_steps_sigmas() == pytest.approx(AysSchedules["StableDiffusionVideoSigmas"], rel=1e-6)


@given(st.integers(1, 60))
def test_align_your_steps_for_any_number_of_steps(steps: int) -> None:
    sigmas = align_your_steps_sigmas(steps)
    assert len(sigmas) == steps + 1
    assert sigmas[0] == 700
    assert sigmas[-1] == 0
    assert all(a > b for a, b in itertools.pairwise(sigmas))


def test_twenty_align_your_steps_lie_between_the_ten_in_the_logarithm() -> None:
    sigmas = align_your_steps_sigmas(20)
    assert sigmas[2:-1:2] == pytest.approx(ALIGN_YOUR_STEPS[1:-1], rel=1e-6)
    assert sigmas[1] == pytest.approx((700 * 54.5) ** 0.5, rel=1e-6)


@pytest.mark.parametrize("schedule", [karras_sigmas, align_your_steps_sigmas])
@pytest.mark.parametrize("steps", [0, -3])
def test_no_steps_are_refused(schedule: Callable[[int], tuple[float, ...]], steps: int) -> None:
    with pytest.raises(ValueError, match=f"at least one step, not {steps}"):
        schedule(steps)


def test_a_karras_range_that_makes_no_sense_is_refused() -> None:
    for low, high, rho in [(0, 700, 7), (700, 0.002, 7), (0.002, float("inf"), 7), (0.002, 700, 0)]:
        with pytest.raises(ValueError, match="sigma_min"):
            karras_sigmas(5, low, high, rho)
