from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from pipelines.stages.smplerx.gaps import filled, filled_rotations


def test_values_between_are_linear_and_beyond_are_held() -> None:
    got = filled(np.array([[0.0, 10.0], [4.0, 30.0]]), np.array([1, 5]), 7)
    np.testing.assert_allclose(got[:, 0], [0, 0, 1, 2, 3, 4, 4])
    np.testing.assert_allclose(got[:, 1], [10, 10, 15, 20, 25, 30, 30])


def test_rotations_between_turn_evenly() -> None:
    known = Rotation.from_rotvec([[0, 0, 0.2], [0, 0, 1.4]]).as_matrix()[:, None]
    got = filled_rotations(known, np.array([1, 4]), 6)
    np.testing.assert_allclose(got[:, 0, 2], [0.2, 0.2, 0.6, 1.0, 1.4, 1.4], atol=1e-6)


def test_one_frame_is_held_throughout() -> None:
    known = Rotation.from_rotvec([[0.1, 0.2, 0.3], [1, 0, 0]]).as_matrix()[None]
    got = filled_rotations(known, np.array([2]), 4)
    np.testing.assert_allclose(got, np.tile([[[0.1, 0.2, 0.3], [1, 0, 0]]], (4, 1, 1)), atol=1e-6)
    np.testing.assert_allclose(filled(np.array([[7.0]]), np.array([2]), 4), np.full((4, 1), 7))


def test_without_gaps_nothing_changes() -> None:
    vectors = np.random.default_rng(0).normal(size=(3, 2, 3))
    known = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(3, 2, 3, 3)
    got = filled_rotations(known, np.arange(3), 3)
    np.testing.assert_allclose(got, vectors, atol=1e-5)
