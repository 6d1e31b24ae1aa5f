"""The fit gets back what it should: known bodies from their key points, and honest refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipelines.body.fit import FitConfig, FitError, FitResult, fit_sequence
from pipelines.body.model import Body, load_body
from pipelines.body.swap import swap, swapped_keypoints
from pipelines.clip import LEFT_HAND, RIGHT_HAND, BodySequence, Keypoints
from tests.body.body_motions import SIZE, dance, observed
from tests.body.test_kinematics import random_body_file

BETAS = np.array([1.2, -0.7, 0.5, 0.4, -0.6, 0.3, 0, 0, 0.5, -0.4], np.float32)
QUICK = FitConfig(iterations=60)
BODY_JOINTS = slice(0, 22)


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


@pytest.fixture(scope="module")
def truth(body: Body) -> BodySequence:
    return dance(body, 12, BETAS)


@pytest.fixture(scope="module")
def clean(body: Body, truth: BodySequence) -> FitResult:
    return fit_sequence(body, observed(body, truth), SIZE)


def joint_error(body: Body, result: FitResult, truth: BodySequence) -> float:
    """Mean distance of the 22 body joints in millimetres, absolute (nothing aligned)."""
    away = body.joints(result.sequence)[:, BODY_JOINTS] - body.joints(truth)[:, BODY_JOINTS]
    return 1000 * float(np.linalg.norm(away, axis=-1).mean())


def height(body: Body, sequence: BodySequence) -> float:
    rest = body.shaped(sequence.betas)
    return float(np.ptp(rest[:, 1]))


def test_recovers_a_known_body_without_noise(body: Body, truth: BodySequence, clean: FitResult) -> None:
    assert joint_error(body, clean, truth) < 25
    assert abs(height(body, clean.sequence) / height(body, truth) - 1) < 0.02
    assert clean.scores["reprojection"] < 0.003


def test_recovers_a_known_body_with_three_pixels_of_noise(body: Body, truth: BodySequence) -> None:
    result = fit_sequence(body, observed(body, truth, noise=3.0), SIZE)
    assert joint_error(body, result, truth) < 40
    assert abs(height(body, result.sequence) / height(body, truth) - 1) < 0.02


def test_the_same_input_gives_the_same_bytes(body: Body, truth: BodySequence) -> None:
    keypoints = observed(body, truth, noise=2.0)
    a, b = (fit_sequence(body, keypoints, SIZE, QUICK).sequence for _ in range(2))
    assert a.body_pose.tobytes() == b.body_pose.tobytes()
    assert a.transl.tobytes() == b.transl.tobytes()


def test_missing_frames_are_interpolated_and_marked(body: Body, truth: BodySequence, clean: FitResult) -> None:
    keypoints = observed(body, truth)
    gone = slice(5, 8)
    keypoints.scores[gone] = 0
    assert keypoints.world is not None
    keypoints.world[gone] = np.nan
    keypoints.boxes[gone] = np.nan
    keypoints.points[gone] = 0
    result = fit_sequence(body, keypoints, SIZE, QUICK)
    assert result.sequence.valid.tolist() == [not 5 <= t < 8 for t in range(12)]
    assert np.isfinite(result.sequence.transl).all()
    assert joint_error(body, result, truth) < 40


def test_unseen_legs_stand_still(body: Body, truth: BodySequence) -> None:
    keypoints = observed(body, truth)
    keypoints.scores[:, 11:23] = 0
    assert keypoints.world is not None
    keypoints.world[:, 23:] = np.nan
    legs = fit_sequence(body, keypoints, SIZE, QUICK).sequence.body_pose[:, [0, 1, 3, 4]]
    assert np.abs(legs).max() < 0.25


def test_unseen_hands_take_the_mean_hand(body: Body, truth: BodySequence) -> None:
    keypoints = observed(body, truth)
    keypoints.scores[:, LEFT_HAND] = keypoints.scores[:, RIGHT_HAND] = 0
    sequence = fit_sequence(body, keypoints, SIZE, QUICK).sequence
    assert np.abs(sequence.left_hand_pose - body.hand_means[0]).max() < 0.1


def test_knees_and_elbows_bend_one_way(clean: FitResult) -> None:
    pose = np.rad2deg(clean.sequence.body_pose)
    assert (pose[:, [3, 4], 0] > -10).all()
    assert (pose[:, 17, 1] < 10).all()
    assert (pose[:, 18, 1] > -10).all()


def test_a_wild_point_does_not_move_the_body(body: Body, truth: BodySequence, clean: FitResult) -> None:
    keypoints = observed(body, truth)
    keypoints.points[4:7, 9] = (500, 30)
    result = fit_sequence(body, keypoints, SIZE)
    assert joint_error(body, result, truth) < 25


def test_a_given_sequence_is_refined_onto_the_points(body: Body, truth: BodySequence) -> None:
    rng = np.random.default_rng(3)
    shaken = replace(truth, body_pose=truth.body_pose + rng.normal(0, 0.06, (1, 21, 3)).astype(np.float32))
    result = fit_sequence(body, observed(body, truth, world=False), SIZE, FitConfig(iterations=80), initial=shaken)
    exact = body.joints(truth)[:, BODY_JOINTS]
    before, after = (body.joints(s)[:, BODY_JOINTS] - exact for s in (shaken, result.sequence))
    assert result.sequence.camera == shaken.camera
    assert np.linalg.norm(after[..., :2], axis=-1).mean() < 0.3 * np.linalg.norm(before[..., :2], axis=-1).mean()
    assert np.abs(after[..., 2]).mean() < 1.3 * np.abs(before[..., 2]).mean()  # key points say nothing about depth


def test_the_given_sequence_is_left_as_it_was(body: Body, truth: BodySequence) -> None:
    before = [array.copy() for array in (truth.betas, truth.expression, truth.body_pose, truth.transl)]
    fit_sequence(body, observed(body, truth, noise=3.0), SIZE, FitConfig(iterations=5), initial=truth)
    for array, same in zip((truth.betas, truth.expression, truth.body_pose, truth.transl), before, strict=True):
        assert array.tobytes() == same.tobytes()


def test_a_shape_of_another_file_is_refused(body: Body, truth: BodySequence) -> None:
    with pytest.raises(ValueError, match="body file"):
        fit_sequence(body, observed(body, truth), SIZE, initial=replace(truth, body_hash="0" * 64))


def test_a_person_who_turns_right_round_keeps_left_and_right(body: Body) -> None:
    truth = dance(body, 16, BETAS)
    turn = np.stack([np.zeros(16), np.linspace(0, 2 * np.pi, 16), np.zeros(16)], -1)
    turned = (Rotation.from_rotvec(truth.global_orient) * Rotation.from_rotvec(turn)).as_rotvec().astype(np.float32)
    truth = replace(truth, global_orient=turned)
    assert joint_error(body, fit_sequence(body, observed(body, truth), SIZE), truth) < 40


def test_world_landmarks_that_were_never_seen_are_as_none(body: Body, truth: BodySequence) -> None:
    keypoints = observed(body, truth)
    nothing = replace(keypoints, world=np.full_like(keypoints.world, np.nan))
    a = fit_sequence(body, nothing, SIZE, QUICK).sequence
    b = fit_sequence(body, replace(keypoints, world=None), SIZE, QUICK).sequence
    assert a.body_pose.tobytes() == b.body_pose.tobytes()


def test_a_head_alone_can_be_fitted(body: Body, truth: BodySequence) -> None:
    keypoints = observed(body, truth)
    keypoints.scores[:, 5:23] = keypoints.scores[:, 91:] = 0
    result = fit_sequence(body, keypoints, SIZE, QUICK)
    assert result.scores["reprojection"] < 0.01
    assert np.abs(result.sequence.body_pose[:, [3, 4]]).max() < 0.3


@pytest.mark.slow
def test_a_file_of_the_licensed_sizes_goes_through_fit_and_swap(tmp_path: Path) -> None:
    np.savez(tmp_path / "SMPLX_NEUTRAL.npz", allow_pickle=False, **random_body_file(400, True))
    body = load_body(tmp_path / "SMPLX_NEUTRAL.npz")
    truth = dance(body, 4, 0.1 * BETAS)
    fitted = fit_sequence(body, observed(body, truth), SIZE, QUICK).sequence
    swapped = swap(fitted, fitted, body)
    assert np.isfinite(body.joints(swapped)).all()
    assert swapped_keypoints(body, swapped, observed(body, truth)).points.shape == (4, 133, 2)


def test_no_visible_point_is_a_reason(body: Body, truth: BodySequence) -> None:
    keypoints = observed(body, truth)
    keypoints.scores[:] = 0
    with pytest.raises(FitError, match="no frame") as caught:
        fit_sequence(body, keypoints, SIZE)
    assert caught.value.reason == "no_points"


def test_a_visible_point_that_is_nan_is_a_reason(body: Body, truth: BodySequence) -> None:
    keypoints = observed(body, truth)
    keypoints.points[3, 7] = np.nan
    with pytest.raises(FitError, match="frame 3") as caught:
        fit_sequence(body, keypoints, SIZE)
    assert caught.value.reason == "nan_points"


def test_wrong_shapes_are_named(body: Body, truth: BodySequence) -> None:
    keypoints = observed(body, truth)
    wrong = Keypoints(keypoints.points, keypoints.scores[:, :17], keypoints.boxes, "x")
    with pytest.raises(ValueError, match="scores"):
        fit_sequence(body, wrong, SIZE)


def test_one_frame_is_a_clip(body: Body) -> None:
    truth = dance(body, 1, BETAS)
    assert joint_error(body, fit_sequence(body, observed(body, truth), SIZE), truth) < 25
