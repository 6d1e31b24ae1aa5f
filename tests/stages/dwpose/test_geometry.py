"""What is drawn at a known place is found at that place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.stages.dwpose.crop import crop_of_box, normalised
from pipelines.stages.dwpose.estimator import DWPose
from pipelines.stages.dwpose.simcc import decode
from pipelines.stages.dwpose.yolox import Yolox, grid, letterbox, shrunk_size, suppress
from tests.stages.dwpose.conformance import COLOURS, cells
from tests.stages.dwpose.drawing import disc, plain, rectangle


@pytest.fixture(scope="module")
def yolox(nets: Path) -> Yolox:
    return Yolox(nets / "yolox_l.onnx", "cpu")


@pytest.fixture(scope="module")
def colour_pose(nets: Path) -> DWPose:
    return DWPose(nets / "pose_colour.onnx", "cpu")


# The last two have sides that the letterbox cuts by most of a pixel.
@pytest.mark.parametrize("size", [(640, 640), (1280, 720), (576, 1024), (300, 200), (853, 479), (720, 481)])
def test_yolox_boxes_what_is_drawn(yolox: Yolox, size: tuple[int, int]) -> None:
    box = np.array([0.3 * size[0], 0.2 * size[1], 0.7 * size[0], 0.9 * size[1]])
    found = yolox([rectangle(plain(*size), box, (255, 255, 255))])[0]
    assert len(found.boxes) == 1
    np.testing.assert_allclose(found.boxes[0], box, atol=0.5 * max(1, max(size) / 640))


@pytest.mark.parametrize("size", [(720, 480), (1920, 1081)])
def test_a_cut_side_of_the_letterbox_is_accounted_for(yolox: Yolox, size: tuple[int, int]) -> None:
    """480 rows become int(426.67). Dividing by the ratio, as public code does, would put the floor 0.75 px higher."""
    box = np.array([0.25 * size[0], 0.5 * size[1], 0.75 * size[0], size[1]])
    found = yolox([rectangle(plain(*size), box, (255, 255, 255))])[0]
    assert found.boxes[0, 3] == pytest.approx(size[1], abs=0.01)


def test_yolox_sees_bgr(nets: Path, tmp_path: Path) -> None:
    """Megvii's nets learnt from what OpenCV reads: blue is the first channel."""
    from tests.stages.dwpose.conformance import silhouette_yolox

    blue = Yolox(silhouette_yolox(tmp_path / "yolox.onnx", channel=0), "cpu")
    box = np.array([100, 100, 200, 300])
    assert len(blue([rectangle(plain(640, 640), box, (128, 128, 255))])[0].boxes) == 1
    assert len(blue([rectangle(plain(640, 640), box, (255, 128, 128))])[0].boxes) == 0


def test_nobody_on_a_plain_picture(yolox: Yolox) -> None:
    assert yolox([plain(320, 240)])[0].boxes.shape == (0, 4)


@pytest.mark.parametrize("size", [(300, 400), (420, 420), (1280, 720), (400, 900)])
def test_133_points_come_back_to_where_they_were_drawn(colour_pose: DWPose, size: tuple[int, int]) -> None:
    """Within half a pixel, of the frame or of the crop, whichever is larger: the net sees no finer than its input."""
    rng = np.random.default_rng(0)
    low, high = np.array(size) * 0.2, np.array(size) * 0.8
    coarse = max(1.0, *((high - low) * 1.25 / (288, 384)))
    columns, rows = np.meshgrid(np.linspace(0.05, 0.95, 14), np.linspace(0.05, 0.95, 10))
    places = np.stack([columns.ravel(), rows.ravel()], axis=1)[rng.permutation(140)[:133]]
    points = low + places * (high - low) + rng.uniform(-1, 1, (133, 2))
    frame = plain(*size)
    for point, colour in zip(points, COLOURS):
        disc(frame, point, 3.0 * coarse, colour)
    found, scores = colour_pose.people(frame, np.array([[*low, *high]]))
    assert scores.min() > 0.5
    away = found[0] - points
    assert np.abs(away.mean(axis=0)).max() < 0.1  # half a pixel left out somewhere would show here
    assert np.abs(away).max() < 0.5 * coarse


def test_points_are_red_green_blue(colour_pose: DWPose) -> None:
    point = int(np.flatnonzero((COLOURS == (0, 0, 255)).all(1))[0])
    frame = plain(300, 400)
    disc(frame, np.array([150.0, 200.0]), 6.0, (0, 0, 255))
    _, scores = colour_pose.people(frame, np.array([[0, 0, 300, 400]]))
    assert scores[0].argmax() == point
    _, scores = colour_pose.people(np.ascontiguousarray(frame[..., ::-1]), np.array([[0, 0, 300, 400]]))
    assert scores[0, point] < 0.1


@given(
    box=st.tuples(*[st.floats(0, 1000, width=32)] * 2, *[st.floats(8, 900, width=32)] * 2),
    point=st.tuples(st.floats(-0.5, 1.5), st.floats(-0.5, 1.5)),
)
def test_crop_and_back_is_the_same_place(box: tuple[float, ...], point: tuple[float, float]) -> None:
    """By the map that OpenCV warps with, from pixel indices to pixel indices."""
    x, y, width, height = box
    crop = crop_of_box(np.array([x, y, x + width, y + height]), (384, 288))
    assert crop is not None
    index = np.array(point) * (width, height) + (x, y)
    scale = 288 / crop.sides[0]
    inside = (index - crop.centre) * scale + np.array([144, 192])
    np.testing.assert_allclose(crop.to_frame(inside), index + 0.5, atol=0.01)


def test_the_crop_holds_the_padded_box() -> None:
    crop = crop_of_box(np.array([100.0, 50, 200, 450]), (384, 288))
    assert crop is not None
    np.testing.assert_allclose(crop.centre, [150, 250])
    np.testing.assert_allclose(crop.sides, [375, 500])
    wide = crop_of_box(np.array([0.0, 0, 300, 100]), (384, 288))
    assert wide is not None
    np.testing.assert_allclose(wide.sides, [375, 500])


@pytest.mark.parametrize("box", [[np.nan] * 4, [5, 5, 5, 9], [9, 5, 5, 9], [0, 0, np.inf, 1]])
def test_no_box_is_no_crop(box: list[float]) -> None:
    assert crop_of_box(np.array(box), (384, 288)) is None


def test_outside_the_frame_the_crop_is_black() -> None:
    crop = crop_of_box(np.array([-300.0, -400, 0, 0]), (384, 288))
    assert crop is not None
    picture = crop.picture(plain(100, 100, 200))
    assert picture[0, 0].tolist() == [0, 0, 0]
    assert picture[-1, -1].tolist() == [200, 200, 200]


def test_normalised_takes_out_the_statistics_in_rgb() -> None:
    picture = np.broadcast_to(np.array([124, 116, 104], np.uint8), (1, 2, 2, 3))
    np.testing.assert_allclose(
        normalised(picture)[0, :, 0, 0],
        [(124 - 123.675) / 58.395, (116 - 116.28) / 57.12, (104 - 103.53) / 57.375],
        atol=1e-6,
    )


def test_simcc_takes_the_less_sure_axis() -> None:
    x, y = np.zeros((1, 2, 8), np.float32), np.zeros((1, 2, 12), np.float32)
    x[0, 0, 5], y[0, 0, 7] = 0.9, 0.4
    x[0, 1], y[0, 1] = -1, -2
    points, scores = decode(x, y, 2.0)
    assert points[0, 0].tolist() == [2.5, 3.5]
    assert scores[0].tolist() == [pytest.approx(0.4), 0.0]


def test_the_letterbox_is_at_the_top_left_on_114() -> None:
    boxed = letterbox(plain(200, 100, 30), (640, 640))
    assert (boxed[:320] == 30).all()
    assert (boxed[320:] == 114).all()


def test_sides_are_cut_not_rounded() -> None:
    assert shrunk_size(720, 480, (640, 640)) == (640, 426)
    assert shrunk_size(4000, 1, (640, 640)) == (640, 1)


def test_the_grid_is_the_published_one() -> None:
    places, strides = grid(640, 640)
    assert len(places) == 8400
    expected, by = cells(640, 640)
    np.testing.assert_array_equal(places, expected)
    np.testing.assert_array_equal(strides, by[:, 0])


def test_suppression_keeps_the_best_of_each_group() -> None:
    boxes = np.array([[0, 0, 100, 100], [5, 5, 105, 105], [300, 0, 400, 100], [0, 60, 100, 160]], np.float32)
    assert suppress(boxes, np.array([0.5, 0.9, 0.7, 0.6], np.float32), 0.45) == [1, 2, 3]
