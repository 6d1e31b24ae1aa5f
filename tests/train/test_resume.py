"""A run that was killed goes on as if nothing had happened."""

from __future__ import annotations

import random
import signal

import pytest

from tests.train.runs import Run, Small, losses


def test_after_kill_9_at_a_random_moment_the_losses_are_those_of_a_run_that_was_left_alone(small: Small, finished: Run):
    killed = small.start("killed")
    killed.wait_for_step(random.randint(3, 5))  # once step 3 is told, the first checkpoint, of step 2, is whole
    killed.send(signal.SIGKILL)
    killed.wait()
    again = small.start("killed")
    assert again.wait() == 0, again.told
    assert losses(again.out) == losses(finished.out)
    assert "going on after step" in again.told


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_two_ranks_killed_go_on_bit_for_bit_under_every_zero_stage(small: Small, stage: int):
    zero = ("--set", f"engine.zero_stage={stage}")
    alone = small.start("alone", *zero, ranks=2)
    assert alone.wait() == 0, alone.told
    killed = small.start("killed", *zero, ranks=2)
    killed.wait_for_step(random.randint(2, 5))
    killed.send(signal.SIGKILL)
    killed.wait()
    again = small.start("killed", *zero, ranks=2)
    assert again.wait() == 0, again.told
    assert losses(again.out) == losses(alone.out)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_one_then_two_then_one_rank_trains_as_one_does(small: Small, stage: int):
    zero = ("--set", f"engine.zero_stage={stage}")
    alone = small.start("alone", *zero)
    assert alone.wait() == 0, alone.told
    for ranks, steps in ((1, 2), (2, 4), (1, 6)):
        part = small.start("changing", *zero, "--set", f"steps={steps}", ranks=ranks)
        assert part.wait() == 0, part.told
    found, wanted = losses(part.out), losses(alone.out)
    assert found.keys() == wanted.keys()
    assert found == pytest.approx(wanted, rel=1e-5)


@pytest.mark.slow
def test_a_run_changes_its_zero_stage_on_the_way(small: Small):
    alone = small.start("alone")
    assert alone.wait() == 0, alone.told
    for stage, steps in ((1, 2), (3, 4), (0, 6)):
        part = small.start(
            "changing", "--set", f"engine.zero_stage={stage}", "--set", f"steps={steps}", ranks=1 + stage // 3
        )
        assert part.wait() == 0, part.told
    assert losses(part.out) == pytest.approx(losses(alone.out), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_bf16_goes_on_bit_for_bit_with_its_fp32_weights(small: Small, stage: int):
    how = ("--set", f"engine.zero_stage={stage}", "--set", "engine.precision=bf16")
    alone = small.start("alone", *how)
    assert alone.wait() == 0, alone.told
    for steps in (2, 6):
        part = small.start("parts", *how, "--set", f"steps={steps}")
        assert part.wait() == 0, part.told
    assert losses(part.out) == losses(alone.out)
