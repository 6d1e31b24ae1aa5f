"""The crop that pictures of every clip go through on their way to the networks.

The paper resizes and crops at the centre; cropping first gives the same picture and resizes fewer pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

VERSION = 1
"""Raised when the same frames give other pictures: cached latents then no longer fit."""


@dataclass(frozen=True)
class Crop:
    """A rectangle of whole pixels in a picture, resized to `size` (width, height)."""

    left: int
    top: int
    width: int
    height: int
    size: tuple[int, int]

    def pictures(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 (N, h, w, 3) to uint8 (N, 3, H, W). Area averages where it shrinks, cubic where it enlarges."""
        width, height = self.size
        shrinks = self.width > width or self.height > height
        method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        out = np.empty((len(frames), 3, height, width), np.uint8)
        for picture, planes in zip(frames, out):
            part = picture[self.top : self.top + self.height, self.left : self.left + self.width]
            if (self.width, self.height) != self.size:
                part = cv2.resize(part, self.size, interpolation=method)
            into_planes(part, planes)
        return out

    def points(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Points (..., 2) in pixels of the picture to those of the result."""
        scale = np.array([self.size[0] / self.width, self.size[1] / self.height], np.float32)
        return (points - np.array([self.left, self.top], np.float32)) * scale


def into_planes(picture: NDArray[np.uint8], planes: NDArray[np.uint8]) -> None:
    """uint8 (H, W, 3) into uint8 (3, H, W): several times faster than copying a transposed view."""
    cv2.split(picture, [planes[0], planes[1], planes[2]])


def crop_to(source: tuple[int, int], size: tuple[int, int], at: float = 0.5) -> Crop:
    """The largest rectangle of the aspect of `size` in a picture of size `source`, both (width, height).

    at: where along the side that is too long, 0 to 1. Sides are whole pixels: the aspect is kept to half a pixel.
    """
    width, height = source
    if width * size[1] > height * size[0]:
        part = (max(1, round(height * size[0] / size[1])), height)
    else:
        part = (width, max(1, round(width * size[1] / size[0])))
    part = min(part[0], width), min(part[1], height)
    return Crop(round((width - part[0]) * at), round((height - part[1]) * at), *part, size)
