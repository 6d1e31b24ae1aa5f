"""A long clip is fitted piece by piece of one objective: the same body, without joins, in memory that stays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.animate_counts import Peak
from pipelines.body import fit_problem
from pipelines.body.fit import FitConfig, default_camera, fit_sequence
from pipelines.body.fit_problem import PIECE, REACH, Problem, pieces_of
from pipelines.body.kinematics import kinematics_of
from pipelines.body.model import Body, load_body
from pipelines.clip import BodySequence, Keypoints
from tests.body.body_motions import SIZE, dance, observed

BETAS = np.array([1.2, -0.7, 0.5, 0.4, -0.6, 0.3, 0, 0, 0.5, -0.4], np.float32)


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(fit_problem, "PIECE", 12)
    return 12


def problem_of(body: Body, keypoints: Keypoints) -> Problem:
    seen = keypoints.scores > 0.3
    valid = np.ones(len(keypoints), bool)
    return Problem(kinematics_of(body), keypoints, seen, valid, default_camera(SIZE), FitConfig(), None)


def noisy(body: Body, frames: int, world: bool = True) -> tuple[BodySequence, Keypoints]:
    truth = dance(body, frames, BETAS)
    return truth, observed(body, truth, noise=2.0, world=world)


@given(st.integers(1, 20 * PIECE))
def test_every_frame_and_every_acceleration_belong_to_one_piece(frames: int):
    pieces = pieces_of(frames)
    assert [row for piece in pieces for row in range(frames)[piece.own_rows]] == list(range(frames))
    assert all(0 < piece.own <= PIECE for piece in pieces)
    first = [start for piece in pieces for start in range(piece.rows.start, piece.rows.stop - REACH)]
    assert first == list(range(max(0, frames - REACH)))


@pytest.mark.parametrize("world", [True, False])
def test_the_pieces_sum_up_to_the_objective_of_the_whole_and_its_gradient(
    body: Body, world: bool, monkeypatch: pytest.MonkeyPatch
):
    problem = problem_of(body, noisy(body, 40, world)[1])
    whole, slope = problem.slope(5.0)
    monkeypatch.setattr(fit_problem, "PIECE", 12)
    problem.pieces = pieces_of(40)
    assert len(problem.pieces) == 4
    summed, slopes = problem.slope(5.0)
    assert summed == pytest.approx(whole, rel=1e-5)
    for one, other in zip(slope, slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(one.abs().max()))


def test_a_fit_in_pieces_finds_the_body_of_a_fit_at_once_and_does_not_jump_where_they_meet(
    body: Body, monkeypatch: pytest.MonkeyPatch
):
    _, keypoints = noisy(body, 40)
    quick = FitConfig(iterations=60)
    at_once = fit_sequence(body, keypoints, SIZE, quick)
    monkeypatch.setattr(fit_problem, "PIECE", 12)
    in_pieces = fit_sequence(body, keypoints, SIZE, quick)
    joints, others = body.joints(at_once.sequence), body.joints(in_pieces.sequence)
    assert np.linalg.norm(joints - others, axis=-1).max() < 2e-3  # metres
    jumps = np.linalg.norm(np.diff(others, n=2, axis=0), axis=-1).max(1)
    meet = [piece.rows.start + at for piece in pieces_of(40)[1:] for at in (-2, -1)]
    assert jumps[meet].max() <= np.linalg.norm(np.diff(joints, n=2, axis=0), axis=-1).max() + 1e-3
    assert in_pieces.scores["reprojection"] == pytest.approx(at_once.scores["reprojection"], rel=0.02)
    np.testing.assert_allclose(in_pieces.errors, at_once.errors, atol=0.5)


def test_the_tensors_of_an_evaluation_do_not_grow_with_the_clip(body: Body, small_pieces: int):
    def peak(frames: int) -> int:
        problem = problem_of(body, noisy(body, frames)[1])
        held = [problem.natural, problem.base, problem.legless, problem.projection.points, problem.projection.weights]
        with Peak([*problem.variables.all(), *held]) as counted:
            problem.slope(5.0)
        gradient = sum(variable.numel() * 4 for variable in problem.variables.all())
        return counted.bytes - gradient

    short, long = peak(small_pieces), peak(8 * small_pieces)
    assert long < 1.3 * short  # and all at once: eight times
