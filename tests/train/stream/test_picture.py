"""Pictures and key points go through the same crop."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.clip import FACE, LEFT_HAND, RIGHT_HAND
from pipelines.video.crop import crop_to
from train.stream.picture import MIRRORED, mirrored, mirrored_points, part_boxes

SIDES = st.integers(2, 1400)


@settings(max_examples=200, deadline=None)
@given(st.tuples(SIDES, SIDES), st.sampled_from([(512, 768), (768, 512), (512, 512), (64, 96)]), st.floats(0, 1))
def test_a_crop_is_the_largest_inside_the_picture(source: tuple[int, int], size: tuple[int, int], at: float):
    crop = crop_to(source, size, at)
    assert crop.left >= 0 <= crop.top
    assert crop.left + crop.width <= source[0]
    assert crop.top + crop.height <= source[1]
    assert crop.width == source[0] or crop.height == source[1]
    assert abs(crop.width * size[1] - crop.height * size[0]) <= max(size) / 2 + 1 or min(crop.width, crop.height) == 1


def test_a_centre_crop_is_in_the_centre():
    crop = crop_to((1366, 768), (512, 768))
    assert (crop.left, crop.top, crop.width, crop.height) == (427, 0, 512, 768)


@pytest.mark.parametrize("source", [(100, 160), (600, 500), (64, 96)])
@pytest.mark.parametrize("flip", [False, True])
def test_a_point_stays_on_what_it_marks(source: tuple[int, int], flip: bool):
    width, height = source
    at = (width * 0.45, height * 0.55)
    picture = np.zeros((height, width, 3), np.uint8)
    cv2.circle(picture, (int(at[0]), int(at[1])), 8, (255, 255, 255), -1)
    crop = crop_to(source, (64, 96))
    pictures = crop.pictures(picture[None])
    points = crop.points(np.tile(np.array([int(at[0]) + 0.5, int(at[1]) + 0.5], np.float32), (1, 133, 1)))
    if flip:
        pictures, (points, _) = mirrored(pictures), mirrored_points(points, np.ones((1, 133), np.float32), 64)
    shown = pictures[0, 0].astype(float)
    ys, xs = np.mgrid[:96, :64] + 0.5
    centre = np.array([(shown * xs).sum(), (shown * ys).sum()]) / shown.sum()
    np.testing.assert_allclose(points[0, 0], centre, atol=0.3)


def test_mirroring_twice_is_nothing():
    assert (MIRRORED[MIRRORED] == np.arange(133)).all()
    points = np.random.default_rng(0).random((2, 133, 2)).astype(np.float32) * 64
    scores = np.random.default_rng(1).random((2, 133)).astype(np.float32)
    again, seen = mirrored_points(*mirrored_points(points, scores, 64), 64)
    np.testing.assert_allclose(again, points, atol=1e-4)
    assert (seen == scores).all()


def test_mirroring_exchanges_left_and_right():
    assert MIRRORED[9] == 10  # wrists
    assert MIRRORED[17] == 20  # big toes
    assert (MIRRORED[LEFT_HAND] == np.arange(RIGHT_HAND.start, RIGHT_HAND.stop)).all()
    face = MIRRORED[FACE] - FACE.start
    assert (face[0], face[8], face[36], face[48], face[60], face[27]) == (16, 8, 45, 54, 64, 27)


def test_a_symmetric_face_is_its_own_mirror_image():
    # A face whose right half is made from its left half by hand-written pairs would prove nothing: it is made by angle.
    side = np.zeros(68)
    side[list(range(8)) + list(range(17, 22)) + [31, 32, 36, 37, 38, 39, 40, 41, 48, 49, 50, 58, 59, 60, 61, 67]] = -1
    side[list(range(9, 17)) + list(range(22, 27)) + [34, 35, *range(42, 48), 52, 53, 54, 55, 56, 62 + 1, 64, 65]] = 1
    assert (side[MIRRORED[FACE] - FACE.start] == -side).all()


def test_pictures_of_the_right_size_are_not_resampled():
    frames = np.random.default_rng(0).integers(0, 256, (2, 96, 64, 3), dtype=np.uint8)
    assert (crop_to((64, 96), (64, 96)).pictures(frames) == frames.transpose(0, 3, 1, 2)).all()


def test_shrinking_does_not_alias():
    stripes = np.zeros((768, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    small = crop_to((512, 768), (64, 96)).pictures(stripes[None])
    assert np.abs(small.astype(int) - 127).max() <= 1


def test_boxes_hold_the_parts_that_are_seen():
    points = np.zeros((2, 133, 2), np.float32)
    points[:, FACE] = np.random.default_rng(0).uniform([20, 30], [40, 60], (2, 68, 2))
    scores = np.zeros((2, 133), np.float32)
    scores[0, FACE] = 0.9
    face, hands = part_boxes(points, scores, (64, 96))
    x0, y0, x1, y1 = face[0]
    assert (points[0, FACE] >= (x0, y0)).all()
    assert (points[0, FACE] <= (x1, y1)).all()
    assert 15 <= x0 <= 21
    assert not face[1].any()
    assert not hands.any()


def test_boxes_outside_the_picture_are_none():
    points = np.full((1, 133, 2), -50, np.float32) + np.random.default_rng(0).random((1, 133, 2), np.float32)
    face, hands = part_boxes(points, np.ones((1, 133), np.float32), (64, 96))
    assert not face.any()
    assert not hands.any()
