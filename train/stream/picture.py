"""The pixels of a sample: one crop for frames, rendering and key points, resized to the size of training.

The paper resizes and crops at the centre; cropping first gives the same picture and resizes fewer pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.clip import FACE, FEET, LEFT_HAND, RIGHT_HAND, Frames

VISIBLE = 0.3
# Least points of a part that must be seen for it to have a box, and by how much the box is larger than its points.
FACE_POINTS, HAND_POINTS, MARGIN = 10, 6, 0.15


@dataclass(frozen=True)
class Crop:
    """A rectangle of whole pixels in a picture, resized to `size` (width, height), then mirrored if `flip`."""

    left: int
    top: int
    width: int
    height: int
    size: tuple[int, int]
    flip: bool = False

    def pictures(self, frames: Frames) -> Frames:
        """uint8 (N, h, w, 3) to uint8 (N, 3, H, W). Area averages where it shrinks, cubic where it enlarges."""
        width, height = self.size
        shrinks = self.width > width or self.height > height
        method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        out = np.empty((len(frames), 3, height, width), np.uint8)
        for picture, target in zip(frames, out):
            part = picture[self.top : self.top + self.height, self.left : self.left + self.width]
            if (self.width, self.height) != self.size:
                part = cv2.resize(part, self.size, interpolation=method)
            into_planes(cv2.flip(part, 1) if self.flip else part, target)
        return out

    def points(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Key points (T, 133, 2) of the picture to those of the result; left and right exchanged if `flip`."""
        scale = np.array([self.size[0] / self.width, self.size[1] / self.height], np.float32)
        moved = (points - np.array([self.left, self.top], np.float32)) * scale
        if self.flip:
            moved = moved[:, MIRRORED]
            moved[..., 0] = self.size[0] - moved[..., 0]
        return moved

    def scores(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores (T, 133) in the order of `points`."""
        return scores[:, MIRRORED] if self.flip else scores


def into_planes(picture: Frames, planes: Frames) -> None:
    """uint8 (H, W, 3) into uint8 (3, H, W): several times faster than copying a transposed view."""
    cv2.split(picture, [planes[0], planes[1], planes[2]])


def crop_to(source: tuple[int, int], size: tuple[int, int], at: float = 0.5, flip: bool = False) -> Crop:
    """The largest rectangle of the aspect of `size` in a picture of size `source`, both (width, height).

    at: where along the side that is too long, 0 to 1. Sides are whole pixels, so the aspect is kept to within half a
    pixel.
    """
    width, height = source
    if width * size[1] > height * size[0]:
        part = (max(1, round(height * size[0] / size[1])), height)
    else:
        part = (width, max(1, round(width * size[1] / size[0])))
    part = min(part[0], width), min(part[1], height)
    return Crop(round((width - part[0]) * at), round((height - part[1]) * at), *part, size, flip)


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


def _mirrored() -> NDArray[np.int64]:
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


MIRRORED = _mirrored()
