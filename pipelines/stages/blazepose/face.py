"""The face: 468 points, found from the body's eyes and mouth through a detector.

Source: the public behaviour of MediaPipe's holistic face graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.clip import Floats
from pipelines.stages.blazepose.nets import Net
from pipelines.stages.blazepose.pose import sigmoid
from pipelines.stages.blazepose.roi import Picture, Roi
from pipelines.stages.blazepose.ssd import Detection, Detector

PRESENT = 0.5
DETECTED = 0.5
# Outer corners of the right and the left eye in the mesh.
EYES = (33, 263)


@dataclass(frozen=True)
class Face:
    """points: float32 (468, 2), image pixels. presence: 0..1."""

    points: Floats
    presence: float


def _level_with(right_eye: Floats, left_eye: Floats, points: Floats, down: float, scale: float) -> Roi:
    """The bounds of `points` as a square, turned so that the line from eye to eye is level in the crop."""
    angle = Roi.towards(right_eye, left_eye, 0.0, 1.0).angle
    low, high = points.min(axis=0), points.max(axis=0)
    centre = (low + high) / 2
    return Roi(float(centre[0]), float(centre[1]), float((high - low).max()), angle).shifted(0, down).scaled(scale)


def roi_of_pose(points: Floats) -> Roi:
    """Where to look for the face, from the body's points (33, 2): nose, eyes, ears and mouth."""
    return _level_with(points[5], points[2], points[:11], 0.0, 3.0)


def roi_of_detection(detection: Detection) -> Roi:
    return _level_with(detection.points[0], detection.points[1], detection.points, -0.1, 2.0)


def roi_of_face(points: Floats) -> Roi:
    """The crop for the next frame from this frame's mesh."""
    return _level_with(points[EYES[0]], points[EYES[1]], points, 0.0, 1.5)


class FaceMesh:
    def __init__(self, net: Net) -> None:
        self.net = net

    def __call__(self, picture: Picture, roi: Roi) -> Face:
        landmarks, presence = self.net(picture.crop(roi, self.net.size))
        points = roi.to_image(landmarks.reshape(468, 3)[:, :2] / np.float32(self.net.size))
        return Face(points, float(sigmoid(presence.reshape(1))[0]))


def find_face(detector: Detector, picture: Picture, pose_points: Floats) -> Roi | None:
    """The best face near where the body's points put it, as a crop for the mesh; None when there is none."""
    around = roi_of_pose(pose_points)
    found = detector(picture, around) if around.usable() else []
    return roi_of_detection(found[0]) if found else None
