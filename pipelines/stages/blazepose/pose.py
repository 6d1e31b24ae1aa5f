"""The body: finding people, and the 33 points of one of them.

Source: the public behaviour of MediaPipe's pose_detection and pose_landmark graphs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi

import numpy as np

from pipelines.clip import Floats
from pipelines.stages.blazepose.nets import CPU, Net
from pipelines.stages.blazepose.roi import Picture, Roi
from pipelines.stages.blazepose.ssd import Detection

# Training margin of the crop around the circle that encloses the body.
MARGIN = 1.25
PRESENT = 0.5
# The landmark net's heat maps, which the converted graph computes but does not declare as an output.
HEATMAP = "Identity_3"
KERNEL = 7


@dataclass(frozen=True)
class Pose:
    """33 BlazePose points of one person.

    points: float32 (33, 2), image pixels. visibility: float32 (33,), 0..1, in the frame and not hidden.
    world: float32 (33, 3), metres from the middle of the hips; x right, y down, z away from the camera.
    presence: 0..1, that there is a person in the crop at all. next_roi: where to look in the next frame.
    """

    points: Floats
    visibility: Floats
    world: Floats
    presence: float
    next_roi: Roi

    def box(self, minimum: float = 0.5) -> Floats:
        """Bounds (4,) of the points seen with at least `minimum`; of all of them when fewer than three are."""
        seen = self.visibility >= minimum
        points = self.points[seen] if seen.sum() >= 3 else self.points
        return np.concatenate([points.min(axis=0), points.max(axis=0)]).astype(np.float32)


def sigmoid(x: Floats) -> Floats:
    return (1.0 / (1.0 + np.exp(-np.clip(x, -60, 60)))).astype(np.float32)


def roi_of_detection(detection: Detection) -> Roi:
    """The crop for `PoseLandmarks`: centred on the hips, turned upright, as large as the detector says the body is."""
    return Roi.around(detection.points[0], detection.points[1], pi / 2).scaled(MARGIN)


def refine(unit: Floats, heatmap: Floats) -> Floats:
    """Pull points (N, 2), 0..1 of the crop, to the centre of mass of their heat map near them.

    heatmap: logits (rows, columns, N). A point whose neighbourhood never reaches 0.5 stays where it is.
    """
    rows, columns, count = heatmap.shape
    cell = np.floor(unit * (columns, rows)).astype(int)
    reach = np.arange(KERNEL) - KERNEL // 2
    x = (cell[:, 0, None] + reach)[:, None, :]
    y = (cell[:, 1, None] + reach)[:, :, None]
    inside = (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
    logits = heatmap[y.clip(0, rows - 1), x.clip(0, columns - 1), np.arange(count)[:, None, None]]
    weight = np.where(inside, sigmoid(logits), 0)
    mass = weight.sum(axis=(1, 2))
    centre = np.stack([(weight * x).sum(axis=(1, 2)) / columns, (weight * y).sum(axis=(1, 2)) / rows], axis=-1)
    in_crop = ((cell >= 0) & (cell < (columns, rows))).all(axis=1)
    sure = in_crop & (weight.max(axis=(1, 2)) >= 0.5)
    return np.where(sure[:, None], centre / np.maximum(mass, 1e-9)[:, None], unit).astype(np.float32)


class PoseLandmarks:
    def __init__(self, providers: Sequence[str] = CPU) -> None:
        self.net = Net("pose_landmark_full", providers, extra_output=HEATMAP)

    def __call__(self, picture: Picture, roi: Roi) -> Pose:
        """The person in the crop, whoever it is; look at `presence` before believing it."""
        landmarks, presence, world, heatmap = self.net(picture.crop(roi, self.net.size))
        rows = landmarks.reshape(39, 5)
        points = roi.to_image(refine(rows[:, :2] / np.float32(self.net.size), heatmap))
        turned = world.reshape(39, 3)[:33].astype(np.float64)
        turned[:, :2] = turned[:, :2] @ roi.axes().T
        # Two auxiliary points, the middle of the hips and one on the circle around the body, give the next crop.
        next_roi = Roi.around(points[33], points[34], pi / 2).scaled(MARGIN)
        visibility = np.minimum(sigmoid(rows[:33, 3]), sigmoid(rows[:33, 4]))
        return Pose(points[:33], visibility, turned.astype(np.float32), float(presence[0]), next_roi)
