"""Flicker, warping error, poses and faces."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipelines.clip import Keypoints
from pipelines.evaluate.metrics.face_cosine import face_cosines
from pipelines.evaluate.metrics.pose_error import pose_errors
from pipelines.evaluate.metrics.temporal import Flow, flicker, warp_error


def scene(seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)


def test_a_constant_error_does_not_flicker() -> None:
    a, b = scene(0)[:64, :64] // 2, scene(0)[1:65, :64] // 2
    assert flicker(a + 40, b + 40, a, b) == 0


def test_brightness_that_comes_and_goes_counts_in_full() -> None:
    a = scene(0)[:64, :64] // 2
    assert flicker(a, a + 51, a, a) == pytest.approx(0.2)


def test_the_flow_finds_a_known_shift() -> None:
    whole = scene(1)
    before, after = whole[20:148, 20:148], whole[17:145, 22:150]  # the content moves 3 down and 2 to the left
    motion = Flow()(before, after)
    y, x = np.mgrid[:128, :128]
    middle = np.s_[24:-24, 24:-24]
    assert np.median((motion.target[..., 0] - x)[middle]) == pytest.approx(-2, abs=0.2)
    assert np.median((motion.target[..., 1] - y)[middle]) == pytest.approx(3, abs=0.2)
    assert motion.seen[middle].mean() > 0.95


def test_following_the_motion_costs_little_and_trembling_much() -> None:
    whole = scene(1)
    before, after = whole[20:148, 20:148], whole[17:145, 22:150]
    motion = Flow()(before, after)
    trembling = whole[20:148, 26:154]
    assert warp_error(before, after, motion) < 0.01
    assert warp_error(before, trembling, motion) > 5 * warp_error(before, after, motion)


def points(at: np.ndarray, scores: np.ndarray) -> Keypoints:
    full, seen = np.zeros((len(at), 133, 2), np.float32), np.zeros((len(at), 133), np.float32)
    full[:, :17], seen[:, :17] = at, scores
    return Keypoints(full, seen, np.zeros((len(at), 4), np.float32), "test")


def test_pose_error_is_in_diagonals_of_the_driving_pose() -> None:
    driving = np.zeros((1, 17, 2), np.float32)
    driving[0, 0], driving[0, 1] = (0, 0), (30, 40)  # a diagonal of 50
    scores = np.zeros((1, 17), np.float32)
    scores[0, :2] = 1
    error, missed = pose_errors(points(driving + np.array([0, 5]), scores), points(driving, scores))
    assert error == pytest.approx(0.1)
    assert missed == 0


def test_points_that_the_result_lost_are_counted_as_missed_not_as_right() -> None:
    driving = np.random.default_rng(0).random((2, 17, 2)).astype(np.float32) * 100
    ones = np.ones((2, 17), np.float32)
    lost = ones.copy()
    lost[0] = 0
    error, missed = pose_errors(points(driving, lost), points(driving, ones))
    assert missed == pytest.approx([1, 0])
    assert np.isnan(error[0])
    assert error[1] == 0


def test_frames_without_a_driving_pose_say_nothing() -> None:
    nobody = points(np.zeros((1, 17, 2)), np.zeros((1, 17)))
    error, missed = pose_errors(nobody, nobody)
    assert np.isnan(error).all()
    assert np.isnan(missed).all()


def test_a_lost_face_counts_zero_and_a_frame_without_a_true_face_nothing() -> None:
    e = np.eye(3, 4)
    generated, truth = np.stack([2 * e[0], e[1], e[2]]), np.stack([5 * e[0], e[1], e[2]])
    cosines = face_cosines(generated, np.array([True, False, True]), truth, np.array([True, True, False]))
    assert cosines[:2] == pytest.approx([1, 0])
    assert np.isnan(cosines[2])
