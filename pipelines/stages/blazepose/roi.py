"""Rotated squares of a picture: cutting them out for a net, and taking its points back to the picture."""

from __future__ import annotations

from dataclasses import dataclass
from math import atan2, cos, hypot, pi, remainder, sin

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.clip import Floats, Frames


@dataclass(frozen=True)
class Roi:
    """A rotated square. Centre and size in image pixels; angle in radians, positive clockwise as seen on the screen."""

    x: float
    y: float
    size: float
    angle: float = 0.0

    def axes(self) -> NDArray[np.float64]:
        """(2, 2): columns are the crop's x and y directions in the image, unit length."""
        c, s = cos(self.angle), sin(self.angle)
        return np.array([[c, -s], [s, c]])

    def shifted(self, right: float, down: float) -> Roi:
        """Moved along its own axes by fractions of its size."""
        x, y = self.axes() @ np.array([right, down]) * self.size
        return Roi(self.x + float(x), self.y + float(y), self.size, self.angle)

    def scaled(self, factor: float) -> Roi:
        return Roi(self.x, self.y, self.size * factor, self.angle)

    def to_image(self, unit: NDArray[np.floating]) -> Floats:
        """Points (..., 2) in 0..1 of the crop to image pixels."""
        offset = (np.asarray(unit, np.float64) - 0.5) * self.size
        return (offset @ self.axes().T + np.array([self.x, self.y])).astype(np.float32)

    def usable(self) -> bool:
        """False for what cannot be cut out: not finite, or smaller than two pixels."""
        return bool(np.isfinite([self.x, self.y, self.size, self.angle]).all()) and self.size >= 2.0

    @staticmethod
    def towards(start: NDArray[np.floating], end: NDArray[np.floating], up: float, size: float) -> Roi:
        """A square around `start`, turned so that the direction start -> end has the angle `up` in the crop.

        up: radians, counter-clockwise from the crop's x axis (pi / 2 points to the crop's top).
        """
        dx, dy = float(end[0] - start[0]), float(end[1] - start[1])
        angle = up - atan2(-dy, dx)
        return Roi(float(start[0]), float(start[1]), size, remainder(angle, 2 * pi))

    @staticmethod
    def around(centre: NDArray[np.floating], scale_point: NDArray[np.floating], up: float) -> Roi:
        """MediaPipe's pair of alignment points: the distance between them is half the side of the square."""
        reach = hypot(float(scale_point[0] - centre[0]), float(scale_point[1] - centre[1]))
        return Roi.towards(centre, scale_point, up, 2 * reach)


class Picture:
    """A frame from which crops are cut. Halved copies are made on demand and kept, so that shrinking does not alias."""

    def __init__(self, frame: Frames) -> None:
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or 0 in frame.shape:
            raise ValueError(f"a frame is uint8 (H, W, 3), not {frame.dtype} {frame.shape}")
        self.height, self.width = frame.shape[:2]
        self._levels = [np.ascontiguousarray(frame)]

    def _level(self, index: int) -> Frames:
        while len(self._levels) <= index:
            last = self._levels[-1]
            size = (max(1, last.shape[1] // 2), max(1, last.shape[0] // 2))
            self._levels.append(cv2.resize(last, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False))
        return self._levels[index]

    def crop(self, roi: Roi, size: int, *, low: float = 0.0, black_outside: bool = False) -> NDArray[np.float32]:
        """Cut out `roi` as float32 (size, size, 3) in low..1.

        Outside the frame: its border pixels repeated, or black. Bilinear, from a copy at most twice too large.
        """
        shrink = roi.size / size
        index = 0
        while shrink >= 2.0 ** (index + 1) and min(self.width, self.height) >= 2 ** (index + 2):
            index += 1
        level = self._level(index)
        fx, fy = level.shape[1] / self.width, level.shape[0] / self.height
        linear = roi.axes() * shrink
        origin = np.array([roi.x, roi.y]) - linear @ np.array([size / 2, size / 2])
        to_level = np.array([[fx], [fy]])
        matrix = np.empty((2, 3))
        matrix[:, :2] = linear * to_level
        # Pixel centres lie at half-integers in our coordinates and at integers in OpenCV's.
        matrix[:, 2] = (origin * to_level[:, 0]) + matrix[:, :2].sum(axis=1) * 0.5 - 0.5
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        border = cv2.BORDER_CONSTANT if black_outside else cv2.BORDER_REPLICATE
        cut = cv2.warpAffine(level, matrix, (size, size), flags=flags, borderMode=border)
        return cut * np.float32((1.0 - low) / 255.0) + np.float32(low)
