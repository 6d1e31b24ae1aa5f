"""The hands: 21 points each, found from the body's wrist and knuckles.

Source: the public behaviour of MediaPipe's holistic hand graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, pi

import numpy as np

from pipelines.clip import Floats
from pipelines.stages.blazepose.nets import Net
from pipelines.stages.blazepose.roi import Picture, Roi

PRESENT = 0.5
# The palm: wrist, thumb's base, and the two lower joints of each finger; fingertips move too much to place a crop by.
PALM = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)


@dataclass(frozen=True)
class Hand:
    """points: float32 (21, 2), image pixels. presence: 0..1. rightness: 0..1, that it is the person's right hand."""

    points: Floats
    presence: float
    rightness: float


def roi_of_pose(wrist: Floats, pinky: Floats, index: Floats) -> Roi:
    """A generous square around where the body's points (2,) put the hand, fingers up."""
    middle = (2 * index + pinky) / 3
    reach = hypot(float(middle[0] - wrist[0]), float(middle[1] - wrist[1]))
    upright = Roi.towards(wrist, middle, pi / 2, 2 * reach)
    return Roi(float(middle[0]), float(middle[1]), 2 * reach, upright.angle).shifted(0, -0.1).scaled(2.7)


def roi_of_hand(points: Floats) -> Roi:
    """The crop for the next frame from this frame's 21 points: the palm's bounds along the hand, doubled."""
    wrist = points[0].astype(np.float64)
    knuckles = ((points[5] + points[13]) / 2 + points[9]).astype(np.float64) / 2
    frame = Roi.towards(wrist, knuckles, pi / 2, 1.0)
    palm = points[list(PALM)].astype(np.float64) @ frame.axes()
    low, high = palm.min(axis=0), palm.max(axis=0)
    x, y = frame.axes() @ ((low + high) / 2)
    return Roi(float(x), float(y), float((high - low).max()), frame.angle).shifted(0, -0.1).scaled(2.0)


class HandCrop:
    """Refines the generous square to the one that the landmark net was trained on."""

    def __init__(self, net: Net) -> None:
        self.net = net

    def __call__(self, picture: Picture, roi: Roi) -> Roi:
        (pair,) = self.net(picture.crop(roi, self.net.size))
        points = roi.to_image(pair.reshape(2, 2) / np.float32(self.net.size))
        return Roi.around(points[0], points[1], -pi / 2).shifted(0, -0.1)


class HandLandmarks:
    def __init__(self, net: Net) -> None:
        self.net = net

    def __call__(self, picture: Picture, roi: Roi) -> Hand:
        landmarks, presence, rightness, _ = self.net(picture.crop(roi, self.net.size))
        points = roi.to_image(landmarks.reshape(21, 3)[:, :2] / np.float32(self.net.size))
        return Hand(points, float(presence[0]), float(rightness[0]))
