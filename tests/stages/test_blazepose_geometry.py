"""The geometry under the nets: crops, anchors, merging, the heat map."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.stages.blazepose.pose import refine
from pipelines.stages.blazepose.roi import Picture, Roi
from pipelines.stages.blazepose.ssd import FACE_STRIDES, POSE_STRIDES, anchor_centres, merge_overlapping, overlap

finite = st.floats(-500, 500)


def picture_of_a_ramp(height: int = 60, width: int = 80) -> Picture:
    """Red is x and green is y of the pixel centre, in our coordinates, doubled."""
    frame = np.zeros((height, width, 3), np.uint8)
    frame[..., 0] = (np.arange(width) + 0.5)[None] * 2
    frame[..., 1] = (np.arange(height) + 0.5)[:, None] * 2
    return Picture(frame)


@given(finite, finite, st.floats(2, 900), st.floats(-3.1, 3.1), st.floats(0, 1), st.floats(0, 1))
def test_to_image_is_undone_by_the_axes(x: float, y: float, size: float, angle: float, u: float, v: float) -> None:
    roi = Roi(x, y, size, angle)
    point = roi.to_image(np.array([u, v])).astype(np.float64)
    back = (point - [x, y]) @ roi.axes() / size + 0.5
    np.testing.assert_allclose(back, [u, v], atol=1e-3)


@pytest.mark.parametrize("angle", [0.0, 0.4, -1.2, np.pi])
@pytest.mark.parametrize("size", [12.0, 30.0])
def test_a_crop_shows_the_pixels_that_to_image_names(size: float, angle: float) -> None:
    roi = Roi(37.0, 29.5, size, angle)
    crop = picture_of_a_ramp().crop(roi, 24) * 255
    centres = (np.stack(np.meshgrid(np.arange(24), np.arange(24)), axis=-1) + 0.5) / 24
    np.testing.assert_allclose(crop[..., :2], roi.to_image(centres) * 2, atol=1.5)


def test_a_crop_of_the_whole_frame_is_the_frame() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    crop = Picture(frame).crop(Roi(16, 16, 32), 32)
    np.testing.assert_allclose(crop * 255, frame, atol=0.01)


def test_a_shrunk_crop_does_not_alias() -> None:
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    crop = Picture(stripes).crop(Roi(256, 256, 512), 64)
    assert np.ptp(crop[8:-8, 8:-8]) < 0.05


def test_outside_the_frame_is_black_when_asked() -> None:
    frame = np.full((16, 16, 3), 255, np.uint8)
    assert Picture(frame).crop(Roi(-40, -40, 16), 8, black_outside=True).max() == 0
    assert Picture(frame).crop(Roi(-40, -40, 16), 8).min() == 1


def test_up_in_the_crop_is_the_direction_of_the_second_point() -> None:
    roi = Roi.around(np.array([50.0, 50.0]), np.array([80.0, 50.0]), np.pi / 2)
    assert roi.size == pytest.approx(60)
    np.testing.assert_allclose(roi.to_image(np.array([0.5, 0.0])), [80, 50], atol=1e-3)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (0, 4, 3)])
def test_a_frame_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="uint8"):
        Picture(np.zeros(shape, np.uint8))


def test_anchor_counts_are_those_of_the_nets() -> None:
    assert anchor_centres(224, POSE_STRIDES).shape == (2254, 2)
    assert anchor_centres(128, FACE_STRIDES).shape == (896, 2)


def test_overlapping_detections_become_their_weighted_average() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 12], [50, 50, 60, 60]], np.float32)
    merged = merge_overlapping(boxes, np.array([0.6, 0.2, 0.9], np.float32))
    assert [score for _, score in merged] == pytest.approx([0.9, 0.6])
    np.testing.assert_allclose(merged[1][0], [0, 0, 10, 10.5])


def test_overlap_of_an_empty_box_is_zero() -> None:
    assert overlap(np.zeros(4, np.float32), np.zeros((1, 4), np.float32))[0] == 0


def test_refinement_goes_to_the_centre_of_mass() -> None:
    heat = np.full((64, 64, 1), -20, np.float32)
    heat[32, 33] = heat[32, 31] = 20
    np.testing.assert_allclose(refine(np.array([[0.51, 0.51]], np.float32), heat), [[0.5, 0.5]], atol=1e-4)


def test_refinement_leaves_an_unsure_or_outside_point_alone() -> None:
    points = np.array([[0.3, 0.4], [1.7, -3.0]], np.float32)
    np.testing.assert_array_equal(refine(points, np.full((64, 64, 2), -1, np.float32)), points)


def test_a_drawn_disc_keeps_its_centre_through_a_turned_crop() -> None:
    frame = np.zeros((200, 300, 3), np.uint8)
    cv2.circle(frame, (180, 90), 6, (255, 255, 255), -1)
    roi = Roi(170, 100, 90, 0.7)
    crop = Picture(frame).crop(roi, 256)[..., 0]
    y, x = np.mgrid[:256, :256] + 0.5
    centre = np.array([(crop * x).sum(), (crop * y).sum()]) / crop.sum() / 256
    np.testing.assert_allclose(roi.to_image(centre), [180.5, 90.5], atol=0.1)
