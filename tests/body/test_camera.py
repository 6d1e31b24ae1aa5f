from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipelines.body.camera import assumed_camera, from_smplerx, from_weak_perspective, refocused
from pipelines.body.raster import rasterise
from pipelines.clip import BodySequence, Camera

PELVIS = np.array([0.01, -0.35, 0.02])


def test_a_point_on_the_optical_axis_is_seen_at_the_principal_point() -> None:
    camera = Camera(900.0, (250.0, 400.0), (512, 768))
    np.testing.assert_allclose(camera.project(np.array([[0, 0, 3], [0.5, -1, 2]])), [[250, 400], [475, -50]])


def test_a_scaled_camera_sees_the_same_picture_larger() -> None:
    camera, points = assumed_camera((512, 768)), np.array([[0.2, -0.4, 3.0]])
    np.testing.assert_allclose(camera.scaled((1024, 1536)).project(points), 2 * camera.project(points))


@pytest.mark.parametrize("centre", [(0, 0, 3), (0.4, -0.5, 2.5), (-0.45, 0.6, 4)])
def test_a_drawn_cube_spans_what_its_projected_corners_span(centre: tuple[float, float, float]) -> None:
    camera = Camera(700.0, (250.3, 391.7), (512, 768))
    corners = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * 0.2
    corners = (Rotation.from_rotvec([0.3, 0.5, 0.1]).apply(corners) + centre).astype(np.float32)
    from scipy.spatial import ConvexHull

    mask = rasterise(corners, ConvexHull(corners).simplices.astype(np.int32), camera).mask
    rows, columns = np.nonzero(mask)
    drawn = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    seen = camera.project(corners.astype(np.float64))
    # A sharp corner may hold no pixel centre in its last half pixel.
    np.testing.assert_allclose(drawn, [*seen.min(axis=0), *seen.max(axis=0)], atol=1.0)
    # The silhouette's centre of gravity has no such excuse.
    hull = ConvexHull(seen)
    outline = seen[hull.vertices]
    x, y = outline.T
    cross = x * np.roll(y, -1) - np.roll(x, -1) * y
    middle = ((outline + np.roll(outline, -1, axis=0)) * cross[:, None]).sum(axis=0) / (3 * cross.sum())
    np.testing.assert_allclose([columns.mean() + 0.5, rows.mean() + 0.5], middle, atol=0.1)


def body_points(orient: np.ndarray, transl: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """What smplx does with points given relative to the pelvis."""
    return Rotation.from_rotvec(orient).apply(offsets) + PELVIS + transl


@given(
    st.floats(-1, 1), st.floats(-1, 1), st.floats(20, 50), st.floats(60, 900), st.floats(0, 400), st.floats(0, 500)
)
@settings(max_examples=60, deadline=None)
def test_smplerx_crop_cameras_keep_the_pixel_and_the_size_of_the_pelvis(
    x: float, y: float, z: float, width: float, left: float, top: float
) -> None:
    box = np.array([[left, top, width, width * 4 / 3]])
    cam_trans, orient = np.array([[x, y, z]]), np.array([[0.2, 2.5, -0.1]])
    placed = from_smplerx(cam_trans, box, orient, PELVIS, (512, 768))
    focal, principal = 5000 / 192 * width, (left + width / 2, top + width * 2 / 3)
    before = focal * (cam_trans[0] + PELVIS)[:2] / (cam_trans[0] + PELVIS)[2] + principal
    pelvis = PELVIS + placed.transl[0]
    np.testing.assert_allclose(placed.camera.project(pelvis), before, atol=0.05)
    assert placed.camera.focal / pelvis[2] == pytest.approx(focal / (cam_trans[0] + PELVIS)[2], rel=1e-4)


def test_a_body_at_the_picture_s_edge_is_still_seen_from_the_same_side() -> None:
    """SMPLer-X's camera is far away and looks straight at the crop; the clip's camera sees the crop under an angle."""
    offsets = np.random.default_rng(0).uniform(-0.2, 0.2, (50, 3))
    box, cam_trans, orient = np.array([[300, 100, 210, 280]]), np.array([[0.0, 0.4, 40.0]]), np.array([[0.1, 2.8, 0.2]])
    placed = from_smplerx(cam_trans, box, orient, PELVIS, (512, 768))
    old = body_points(orient[0], cam_trans[0], offsets)
    before = 5000 / 192 * 210 * old[:, :2] / old[:, 2:] + [300 + 105, 100 + 140]
    after = placed.camera.project(body_points(placed.global_orient[0], placed.transl[0], offsets))
    unturned = placed.camera.project(body_points(orient[0], placed.transl[0], offsets))
    error = np.linalg.norm(after - before, axis=1).max()
    # 0.35 m from the pelvis is about 50 pixels here; perspective alone may move it by a few.
    assert error < 5
    assert error < 0.5 * np.linalg.norm(unturned - before, axis=1).max()


def test_a_box_that_was_not_expanded_to_the_crop_s_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="expanded 3:4"):
        from_smplerx(np.ones((1, 3)), [[0, 0, 100, 100]], np.zeros((1, 3)), PELVIS, (512, 768))


def test_weak_perspective_keeps_pixels_in_the_plane_of_the_pelvis() -> None:
    weak, box = np.array([[0.9, 0.1, -0.2]]), np.array([[300.0, 350.0, 400.0]])
    camera, transl = from_weak_perspective(weak, box, PELVIS, (512, 768))
    point = np.array([0.3, -0.6, PELVIS[2]])
    expected = box[0, :2] + 200 * 0.9 * (point[:2] + weak[0, 1:])
    np.testing.assert_allclose(camera.project(point + transl[0]), expected, atol=1e-3)


def sequence(frames: int = 3) -> BodySequence:
    rng = np.random.default_rng(1)

    def zeros(*shape: int) -> np.ndarray:
        return np.zeros(shape, np.float32)

    orient = rng.normal(size=(frames, 3)).astype(np.float32)
    transl = (rng.normal(size=(frames, 3)) * 0.4 + [0, 0, 5]).astype(np.float32)
    return BodySequence(
        zeros(10), zeros(frames, 10), orient, zeros(frames, 21, 3), zeros(frames, 15, 3), zeros(frames, 15, 3),
        zeros(frames, 3), transl,
        Camera(700.0, (256.0, 384.0), (512, 768)), True, "hash", np.ones(frames, bool),
    )  # fmt: skip


def test_refocusing_there_and_back_changes_nothing() -> None:
    start = sequence()
    again = refocused(refocused(start, PELVIS, 1400.0), PELVIS, 700.0)
    np.testing.assert_allclose(again.transl, start.transl, atol=1e-4)
    difference = Rotation.from_rotvec(again.global_orient) * Rotation.from_rotvec(start.global_orient).inv()
    assert difference.magnitude().max() < 1e-4


def test_refocusing_keeps_every_pelvis_where_it_is_seen() -> None:
    start = sequence()
    longer = refocused(start, PELVIS, 1500.0)
    before = start.camera.project(PELVIS + start.transl)
    np.testing.assert_allclose(longer.camera.project(PELVIS + longer.transl), before, atol=1e-2)


def test_values_that_are_not_finite_are_named_by_frame() -> None:
    cam_trans = np.array([[0, 0, 20], [0, np.nan, 20]])
    with pytest.raises(ValueError, match="transl: frame 1 is not finite"):
        from_smplerx(cam_trans, [[0, 0, 75, 100]] * 2, np.zeros((2, 3)), PELVIS, (512, 768))


def test_a_body_behind_the_camera_is_refused() -> None:
    with pytest.raises(ValueError, match="frame 0 is behind the camera"):
        from_smplerx([[0, 0, -1]], [[0, 0, 75, 100]], np.zeros((1, 3)), PELVIS, (512, 768))
