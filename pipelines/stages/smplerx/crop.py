"""The crop of a person that SMPLer-X looks at.

SMPLer-X's image coordinates are OpenCV's: the centre of the top-left pixel is (0, 0). This project's are half a pixel
larger. Functions here take and give the project's; the shift is inside.

Source: SMPLer-X common/utils/preprocessing.py (`process_bbox`, `generate_patch_image`) and main/inference.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipelines.clip import Floats, Frames

from .network import INPUT_HEIGHT, INPUT_WIDTH

PATCH_HEIGHT, PATCH_WIDTH = 512, 384
BOX_GROWTH = 1.25
# OpenCV's coordinates of the centre of the first pixel are 0, this project's 0.5.
HALF_PIXEL = 0.5
# Pixels around a box that interpolation may look at.
_MARGIN = 2


@dataclass(frozen=True)
class Crop:
    """box: float64 (4,), x y width height of the expanded box, pixels of the frame; its sides are 3:4."""

    box: NDArray[np.float64]

    @property
    def scale(self) -> NDArray[np.float64]:
        """(2,) pixels of the 192x256 input for each pixel of the frame."""
        return np.array([INPUT_WIDTH, INPUT_HEIGHT]) / self.box[2:]

    def to_input(self, points: ArrayLike) -> NDArray[np.float64]:
        """Points (..., 2) of the frame in the input's pixels, both as this project counts them."""
        return (np.asarray(points, np.float64) - self.box[:2]) * self.scale + HALF_PIXEL

    def to_frame(self, points: ArrayLike) -> NDArray[np.float64]:
        """Points (..., 2) of the input in the frame's pixels, both as this project counts them."""
        return (np.asarray(points, np.float64) - HALF_PIXEL) / self.scale + self.box[:2]

    def cut(self, frame: Frames) -> Floats:
        """The input of the network, float32 (256, 192, 3), 0 to 1, of a frame (H, W, 3) uint8 RGB; black outside.

        The published code cuts 512x384 and then takes every second row and column; this cuts those only. The values are
        the same, since OpenCV's coordinates of every second pixel are exactly twice as large.
        """
        height, width = frame.shape[:2]
        x0, y0 = np.floor(self.box[:2] - _MARGIN).astype(int).clip(0, [width, height])
        x1, y1 = np.ceil(self.box[:2] + self.box[2:] + _MARGIN).astype(int).clip(0, [width, height])
        if x1 <= x0 or y1 <= y0:
            return np.zeros((INPUT_HEIGHT, INPUT_WIDTH, 3), np.float32)
        near = frame[y0:y1, x0:x1].astype(np.float32)
        shift = HALF_PIXEL + np.array([x0, y0]) - self.box[:2]
        matrix = np.concatenate([np.diag(self.scale), (shift * self.scale)[:, None]], axis=1)
        return cv2.warpAffine(near, matrix, (INPUT_WIDTH, INPUT_HEIGHT), flags=cv2.INTER_LINEAR) / np.float32(255)


def crop_of(box: ArrayLike, size: tuple[int, int]) -> Crop | None:
    """The crop for a person's box (4,), x0 y0 x1 y1 pixels, in a frame of `size` (width, height).

    None where the box is not finite or has no area inside of the frame.
    """
    given = np.asarray(box, np.float64)
    if given.shape != (4,):
        raise ValueError(f"expected a box (4,), x0 y0 x1 y1, got {given.shape}")
    if not np.isfinite(given).all():
        return None
    # The published code is given boxes that end at the picture's edges; others it would move instead of cutting them.
    x0, y0, x1, y1 = given.clip(0, [*size, *size]) - HALF_PIXEL
    left, top = max(0.0, x0), max(0.0, y0)
    right = min(size[0] - 1.0, left + max(0.0, x1 - x0 - 1))
    bottom = min(size[1] - 1.0, top + max(0.0, y1 - y0 - 1))
    if right <= left or bottom <= top:
        return None
    width, height = right - left, bottom - top
    aspect = PATCH_WIDTH / PATCH_HEIGHT
    grown = np.array([max(width, height * aspect), max(height, width / aspect)]) * BOX_GROWTH
    centre = np.array([left + width / 2, top + height / 2])
    return Crop(np.concatenate([centre - grown / 2 + HALF_PIXEL, grown]))
