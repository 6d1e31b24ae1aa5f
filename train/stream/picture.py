"""Mirroring of a sample, and the boxes of its face and hands."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.clip import FACE, FEET, LEFT_HAND, RIGHT_HAND, Frames

VISIBLE = 0.3
# Least points of a part that must be seen for it to have a box, and by how much the box is larger than its points.
FACE_POINTS, HAND_POINTS, MARGIN = 10, 6, 0.15


def mirrored(pictures: Frames) -> Frames:
    """uint8 (N, 3, H, W) with left and right exchanged."""
    return np.ascontiguousarray(pictures[..., ::-1])


def mirrored_points(
    points: NDArray[np.float32], scores: NDArray[np.float32], width: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Key points (T, 133, 2) and scores (T, 133) of the mirrored picture: the left hand is now the right one."""
    moved = points[:, MIRRORED]
    moved[..., 0] = width - moved[..., 0]
    return moved, scores[:, MIRRORED]


def part_boxes(
    points: NDArray[np.float32], scores: NDArray[np.float32], size: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Boxes of the face, float32 (T, 4), and of the left and right hand, (T, 2, 4): x0 y0 x1 y1 pixels inside `size`.

    points: (T, 133, 2) pixels of a picture of `size`; scores: (T, 133). Zeros where too few points are seen.
    """
    face = _boxes(points[:, FACE], scores[:, FACE], size, FACE_POINTS)
    hands = [_boxes(points[:, hand], scores[:, hand], size, HAND_POINTS) for hand in (LEFT_HAND, RIGHT_HAND)]
    return face, np.stack(hands, axis=1)


def _boxes(
    points: NDArray[np.float32], scores: NDArray[np.float32], size: tuple[int, int], least: int
) -> NDArray[np.float32]:
    seen = scores > VISIBLE
    low = np.where(seen[..., None], points, np.inf).min(axis=1)
    high = np.where(seen[..., None], points, -np.inf).max(axis=1)
    there = seen.sum(axis=1) >= least
    low, high = np.where(there[:, None], low, 0), np.where(there[:, None], high, 0)
    margin = (high - low) * MARGIN
    boxes = np.concatenate([low - margin, high + margin], axis=1).clip(0, [*size, *size])
    inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return np.where(inside[:, None], boxes, 0).astype(np.float32)


def _mirror_order() -> NDArray[np.int64]:
    """For each of the 133 points, the point that stands in its place in a mirrored picture."""
    order = np.arange(133)
    order[1:17] = order[1:17].reshape(8, 2)[:, ::-1].ravel()
    order[FEET] = np.roll(order[FEET], 3)
    # The 68 face points: jaw, brows, nose (bridge on the axis, then nostrils), eyes, outer and inner lips.
    face = [
        *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
        45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
        54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
    ]  # fmt: skip
    order[FACE] = FACE.start + np.array(face)
    order[LEFT_HAND], order[RIGHT_HAND] = np.arange(112, 133), np.arange(91, 112)
    return order


MIRRORED = _mirror_order()
