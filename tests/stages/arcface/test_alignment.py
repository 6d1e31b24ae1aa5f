from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipelines.body.model import Body, load_body
from pipelines.clip import BodySequence, Camera
from pipelines.stages.arcface.alignment import TEMPLATE, aligned, similarity
from pipelines.stages.arcface.yaw import yaw


@given(st.floats(-3.1, 3.1), st.floats(0.1, 8), st.floats(-500, 500), st.floats(-500, 500))
@settings(max_examples=50, deadline=None)
def test_a_moved_template_is_brought_back(angle: float, scale: float, x: float, y: float) -> None:
    cosine, sine = np.cos(angle) * scale, np.sin(angle) * scale
    points = TEMPLATE @ np.array([[cosine, sine], [-sine, cosine]]) + [x, y]
    matrix = similarity(points, TEMPLATE)
    np.testing.assert_allclose(points @ matrix[:, :2].T + matrix[:, 2], TEMPLATE, atol=1e-6)


def test_the_similarity_has_the_least_squared_error() -> None:
    points = TEMPLATE * 2 + np.random.default_rng(0).normal(0, 5, (5, 2))
    best = similarity(points, TEMPLATE)
    a, b, x, y = best[0, 0], best[1, 0], best[0, 2], best[1, 2]

    def error(a: float, b: float, x: float, y: float) -> float:
        moved = points @ np.array([[a, b], [-b, a]]) + [x, y]
        return float(((moved - TEMPLATE) ** 2).sum())

    for change in (1e-3, -1e-3):
        others = [error(a + change, b, x, y), error(a, b + change, x, y), error(a, b, x + 1, y), error(a, b, x, y - 1)]
        assert error(a, b, x, y) < min(others)


def test_a_face_without_extent_is_refused() -> None:
    with pytest.raises(ValueError, match="all in one place"):
        similarity(np.ones((5, 2)), TEMPLATE)


def test_what_is_at_the_points_comes_to_the_template() -> None:
    frame = np.zeros((400, 300, 3), np.uint8)
    points = (TEMPLATE * 1.7 + [60, 120]).round()
    for x, y in points.astype(int):
        frame[y - 2 : y + 3, x - 2 : x + 3] = 255
    crop = aligned(frame, points.astype(np.float32))
    for x, y in TEMPLATE.round().astype(int):
        assert crop[y, x].min() > 200


@pytest.mark.parametrize("degrees", [-45, -20, 0, 15, 40])
@pytest.mark.parametrize("tilt", [-0.4, 0.0, 0.5])
def test_the_yaw_of_a_known_head_is_found_whatever_its_tilt(degrees: float, tilt: float) -> None:
    points = known_head(degrees, tilt)
    assert yaw(points) == pytest.approx(degrees, abs=6)


@cache
def free_body() -> Body:
    return load_body()


def known_head(degrees: float, tilt: float) -> np.ndarray:
    """(5, 2) points of the free body's head, looking `degrees` to the picture's right, tilted in the picture by `tilt`.
    """
    body = free_body()
    zero = {"betas": (10,), "expression": (1, 10), "body_pose": (1, 21, 3), "left_hand_pose": (1, 15, 3)}
    arrays = {name: np.zeros(shape, np.float32) for name, shape in zero.items()}
    # The file's body looks along +z with y up; the camera along +z with y down: half a turn about x faces them.
    turned = Rotation.from_rotvec([0, 0, tilt]) * Rotation.from_euler("x", 180, degrees=True)
    orient = turned * Rotation.from_euler("y", degrees, degrees=True)
    sequence = BodySequence(
        **arrays,
        global_orient=orient.as_rotvec()[None].astype(np.float32),
        right_hand_pose=np.zeros((1, 15, 3), np.float32),
        jaw_pose=np.zeros((1, 3), np.float32),
        transl=np.array([[0, 0, 5]], np.float32),
        camera=Camera(1000.0, (256, 256), (512, 512)),
        flat_hand_mean=True,
        body_hash=body.hash,
        valid=np.ones(1, bool),
    )
    marks = sequence.camera.project(body.joints(sequence))[0, 76:127]
    # The landmarks' order: the person's right eye is first; it is on the picture's left.
    return np.stack([marks[19:25].mean(0), marks[25:31].mean(0), marks[13], marks[31], marks[37]])
