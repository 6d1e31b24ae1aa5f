from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.stages.smplerx.crop import BOX_GROWTH, crop_of
from tests.stages.smplerx.published import waves

SIZE = (500, 700)
coordinate = st.floats(-200, 900)


def test_the_box_is_grown_to_three_by_four_about_its_middle() -> None:
    crop = crop_of([100, 80, 300, 600], SIZE)
    assert crop is not None
    x, y, width, height = crop.box
    # The published code takes a pixel from the box's sides.
    assert height == pytest.approx(519 * BOX_GROWTH)
    assert width == pytest.approx(height * 3 / 4)
    np.testing.assert_allclose([x + width / 2, y + height / 2], [199.5, 339.5])


@given(coordinate, coordinate, coordinate, coordinate)
@settings(max_examples=100, deadline=None)
def test_every_crop_is_three_by_four_and_holds_the_box_s_middle(x0: float, y0: float, x1: float, y1: float) -> None:
    crop = crop_of([x0, y0, x1, y1], SIZE)
    if crop is None:
        seen = np.clip([x1, y1], 0, SIZE) - np.clip([x0, y0], 0, SIZE)
        assert seen.min() < 2
    else:
        assert crop.box[2] / crop.box[3] == pytest.approx(0.75)


@pytest.mark.parametrize("box", [[np.nan] * 4, [10, 10, 10, 50], [-300, 10, -200, 90], [600, 0, 700, 90]])
def test_a_box_without_a_part_in_the_picture_has_no_crop(box: list[float]) -> None:
    assert crop_of(box, SIZE) is None


@given(coordinate, coordinate)
@settings(max_examples=30, deadline=None)
def test_points_go_to_the_input_and_back(x: float, y: float) -> None:
    crop = crop_of([100, 80, 300, 600], SIZE)
    assert crop is not None
    np.testing.assert_allclose(crop.to_frame(crop.to_input([x, y])), [x, y], atol=1e-9)


@pytest.mark.parametrize("box", [[100.3, 80.7, 330.2, 620.1], [-20, -30, 200, 300], [300, 200, 520, 480]])
def test_the_crop_is_every_second_pixel_of_the_published_patch(box: list[float]) -> None:
    """The published way, written out: three corners of the box in OpenCV's coordinates to a 384x512 patch."""
    frame = waves(*SIZE)
    crop = crop_of(box, SIZE)
    assert crop is not None
    x, y, width, height = crop.box - [0.5, 0.5, 0, 0]
    corners = np.float32([[x, y], [x + width, y], [x, y + height]])
    matrix = cv2.getAffineTransform(corners, np.float32([[0, 0], [384, 0], [0, 512]]))
    patch = cv2.warpAffine(frame.astype(np.float32), matrix, (384, 512), flags=cv2.INTER_LINEAR) / 255
    np.testing.assert_allclose(crop.cut(frame), patch[::2, ::2], atol=0.01)
    assert np.abs(crop.cut(frame) - patch[::2, ::2]).mean() < 1e-4


def test_a_dot_of_the_frame_is_found_where_the_points_say() -> None:
    """A known pixel through the crop: at most half a pixel of the input away from where `to_input` has it."""
    crop = crop_of([100, 80, 300, 600], SIZE)
    assert crop is not None
    y, x = np.mgrid[: SIZE[1], : SIZE[0]] + 0.5
    for at in ([150.0, 200.0], [221.3, 410.8], [260.5, 555.5]):
        bump = 255 * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 40)
        cut = crop.cut(np.repeat(np.round(bump).astype(np.uint8)[..., None], 3, axis=2))[..., 0]
        rows, columns = np.mgrid[: cut.shape[0], : cut.shape[1]] + 0.5
        found = np.array([(columns * cut).sum(), (rows * cut).sum()]) / cut.sum()
        np.testing.assert_allclose(found, crop.to_input(at), atol=0.1)


def test_what_is_outside_of_the_frame_is_black() -> None:
    crop = crop_of([0, 0, 120, 700], SIZE)
    assert crop is not None
    cut = crop.cut(np.full((700, 500, 3), 255, np.uint8))
    assert cut[128, 0].max() == 0
    assert cut[128, 100].min() == 1


def test_a_box_over_the_edge_is_cut_there_and_not_moved() -> None:
    over, cut = crop_of([-60, 80, 200, 600], SIZE), crop_of([0, 80, 200, 600], SIZE)
    assert over is not None
    assert cut is not None
    np.testing.assert_array_equal(over.box, cut.box)
