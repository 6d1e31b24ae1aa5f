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

from pipelines.clip import Floats, Frames

PADDING = 1.25
# Of ImageNet, in the order R, G, B.
MEAN = np.array([123.675, 116.28, 103.53])
DEVIATION = np.array([58.395, 57.12, 57.375])
# (3, 256): what each level of each channel becomes, computed in double precision, as the published code does.
LEVELS = ((np.arange(256) - MEAN[:, None]) / DEVIATION[:, None]).astype(np.float32)
TO_CONTINUOUS = 0.5


@dataclass(frozen=True)
class Crop:
    """A rectangle of a frame that a net of input (height, width) looks at. centre, sides: (2,), x y, frame pixels."""

    centre: Floats
    sides: Floats
    input_size: tuple[int, int]

    def picture(self, frame: Frames) -> Frames:
        """uint8 (height, width, 3), black where the crop leaves the frame."""
        height, width = self.input_size
        # From three points, in single precision, as the published code does: then the crops are equal to the last bit.
        affine = cv2.getAffineTransform(
            _corner(self.centre, self.sides[0]),
            _corner(np.array([width / 2, height / 2], np.float32), np.float32(width)),
        )
        return np.asarray(cv2.warpAffine(frame, affine, (width, height), flags=cv2.INTER_LINEAR), np.uint8)

    def to_frame(self, points: Floats) -> Floats:
        """Points (..., 2) counted in the crop's pixels from the centre of the first one, as continuous frame pixels."""
        height, width = self.input_size
        inside = points / np.array([width, height]) - 0.5
        return (inside * self.sides + self.centre + TO_CONTINUOUS).astype(np.float32)


def crop_of_box(box: Floats, input_size: tuple[int, int], padding: float = PADDING) -> Crop | None:
    """The padded box x0 y0 x1 y1, grown on its short side to the aspect of the input. None for no or an empty box."""
    low, high = np.asarray(box[:2], np.float32), np.asarray(box[2:], np.float32)
    if not np.isfinite(box).all() or not (high - low > 0).all():
        return None
    width, height = (high - low) * np.float32(padding)
    aspect = np.float32(input_size[1] / input_size[0])
    sides = (width, width / aspect) if width > height * aspect else (height * aspect, height)
    return Crop((low + high) * np.float32(0.5), np.array(sides, np.float32), input_size)


def _corner(centre: Floats, side: np.float32) -> Floats:
    """(3, 2): the centre, the point half a side above it, and the one as far left of that."""
    above = centre + np.array([0, -side / 2], np.float32)
    # What single precision made of half a side, as the published code has it.
    half = centre[1] - above[1]
    return np.stack([centre, above, above - np.array([half, 0], np.float32)]).astype(np.float32)


def normalised(pictures: Frames) -> Floats:
    """uint8 (N, H, W, 3) RGB to float32 (N, 3, H, W), the statistics of ImageNet taken out."""
    out = np.empty((len(pictures), 3, *pictures.shape[1:3]), np.float32)
    for channel in range(3):
        np.take(LEVELS[channel], pictures[..., channel], out=out[:, channel], mode="clip")
    return out
