"""The crop of one person as a top-down net sees it, and the way back.

The published nets (mmpose's TopdownAffine) count a crop's pixels by index: the centre of the first pixel is 0, of the
crop and of the frame alike, in the affine map, in OpenCV's `warpAffine` and in the key points that they learnt. Ours is
half a pixel further: the way back therefore adds 0.5, in pixels of the frame. The box's own half pixel stays as it is,
as in the training: it moves the crop, not the points.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.clip import Floats, Frames

PADDING = 1.25
# Of ImageNet, in the order R, G, B.
MEAN = np.array([123.675, 116.28, 103.53], np.float32)
DEVIATION = np.array([58.395, 57.12, 57.375], np.float32)
TO_CONTINUOUS = 0.5


@dataclass(frozen=True)
class Crop:
    """A rectangle of a frame that a net of input (height, width) looks at. centre, sides: (2,), x y, frame pixels."""

    centre: NDArray[np.float64]
    sides: NDArray[np.float64]
    input_size: tuple[int, int]

    def picture(self, frame: Frames) -> Frames:
        """uint8 (height, width, 3), black where the crop leaves the frame."""
        height, width = self.input_size
        scale = width / float(self.sides[0])
        shift = np.array([width, height]) / 2 - scale * self.centre
        affine = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        return np.asarray(cv2.warpAffine(frame, affine, (width, height), flags=cv2.INTER_LINEAR), np.uint8)

    def to_frame(self, points: Floats) -> Floats:
        """Points (..., 2) counted in the crop's pixels from the centre of the first one, as continuous frame pixels."""
        height, width = self.input_size
        inside = points / np.array([width, height]) - 0.5
        return (inside * self.sides + self.centre + TO_CONTINUOUS).astype(np.float32)


def crop_of_box(box: Floats, input_size: tuple[int, int], padding: float = PADDING) -> Crop | None:
    """The padded box x0 y0 x1 y1, grown on its short side to the aspect of the input. None for no or an empty box."""
    low, high = np.asarray(box[:2], np.float64), np.asarray(box[2:], np.float64)
    if not np.isfinite(box).all() or not (high - low > 0).all():
        return None
    width, height = (high - low) * padding
    aspect = input_size[1] / input_size[0]
    sides = (width, width / aspect) if width > height * aspect else (height * aspect, height)
    return Crop((low + high) / 2, np.array(sides), input_size)


def normalised(pictures: Frames) -> Floats:
    """uint8 (N, H, W, 3) RGB to float32 (N, 3, H, W), the statistics of ImageNet taken out."""
    scaled = (pictures.astype(np.float32) - MEAN) / DEVIATION
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))
