"""Joint limits and the natural pose are a body's, not numbers that contradict each other."""

import numpy as np

from pipelines.body.model import load_body
from pipelines.body.priors import LIMITS, NATURAL_POSE, STIFFNESS


def test_the_natural_pose_and_the_mean_hands_are_within_the_limits() -> None:
    pose = NATURAL_POSE.copy()
    pose[25:] = load_body().hand_means.reshape(30, 3)
    assert (pose >= LIMITS[..., 0] - 1e-6).all()
    assert (pose <= LIMITS[..., 1] + 1e-6).all()


def test_left_and_right_mirror_each_other() -> None:
    for left, right in ((1, 2), (4, 5), (16, 17), (18, 19), (20, 21), (25, 40), (37, 52)):
        mirrored = LIMITS[left] * np.array([1, -1, -1], np.float32)[:, None]
        mirrored[1:] = mirrored[1:, ::-1]
        assert np.allclose(mirrored, LIMITS[right])
        assert np.allclose(STIFFNESS[left], STIFFNESS[right])
