from __future__ import annotations

import numpy as np
import pytest

from pipelines.video.orientation import UPRIGHT, Orientation, from_matrix

ONE = 1 << 16
IMAGE = np.arange(6, dtype=np.uint8).reshape(2, 3)


def matrix(a: int, b: int, c: int, d: int) -> tuple[int, ...]:
    return (a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30)


@pytest.mark.parametrize(
    ("turn", "degrees"), [((1, 0, 0, 1), 0), ((0, -1, 1, 0), 90), ((-1, 0, 0, -1), 180), ((0, 1, -1, 0), 270)]
)
def test_a_pure_rotation_equals_rot90(turn: tuple[int, int, int, int], degrees: int) -> None:
    orientation = from_matrix(matrix(*turn))
    assert (orientation.rotation, orientation.mirrored) == (degrees, False)
    np.testing.assert_array_equal(orientation.apply(IMAGE), np.rot90(IMAGE, degrees // 90))


@pytest.mark.parametrize("turn", [(-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0)])
def test_the_other_four_matrices_are_mirror_images(turn: tuple[int, int, int, int]) -> None:
    assert from_matrix(matrix(*turn)).mirrored


@pytest.mark.parametrize("turn", [(1, 0, 0, 1), (0, -1, 1, 0), (-1, 0, 0, 1), (0, -1, -1, 0), (0, 1, 1, 0)])
def test_pixels_go_where_the_matrix_sends_them(turn: tuple[int, int, int, int]) -> None:
    a, b, c, d = turn
    shown = from_matrix(matrix(*turn)).apply(IMAGE)
    sent = {(a * p + c * q, b * p + d * q): IMAGE[q, p] for q in range(2) for p in range(3)}
    left, top = min(x for x, _ in sent), min(y for _, y in sent)
    assert all(shown[y - top, x - left] == value for (x, y), value in sent.items())


def test_an_empty_matrix_is_upright() -> None:
    assert from_matrix((0,) * 9) == UPRIGHT


def test_a_skewed_matrix_is_marked_inexact() -> None:
    assert not from_matrix((46341, 46340, 0, -46340, 46341, 0, 0, 0, 1 << 30)).exact


def test_the_size_follows_the_transpose() -> None:
    assert Orientation(transpose=True).size(640, 480) == (480, 640)
