"""The single-shot detectors of MediaPipe: anchors, decoding, and suppression by weighted averaging."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.clip import Floats
from pipelines.stages.blazepose.nets import Net
from pipelines.stages.blazepose.roi import Picture, Roi

POSE_STRIDES = (8, 16, 32, 32, 32)
FACE_STRIDES = (8, 16, 16, 16)


@dataclass(frozen=True)
class Detection:
    """box: float32 (4,), x0 y0 x1 y1, image pixels. points: float32 (K, 2), image pixels. score: 0..1."""

    box: Floats
    points: Floats
    score: float


def anchor_centres(size: int, strides: Sequence[int]) -> Floats:
    """Centres (N, 2) in 0..1 of the anchors, two per cell and stride; layers of one stride share their cells.

    Source: the public behaviour of MediaPipe's SsdAnchorsCalculator with fixed anchor sizes and one aspect ratio.
    """
    layers = []
    for stride in sorted(set(strides)):
        cells = -(-size // stride)
        centre = (np.arange(cells, dtype=np.float32) + 0.5) / cells
        grid = np.stack(np.meshgrid(centre, centre), axis=-1).reshape(-1, 2)
        layers.append(np.repeat(grid, 2 * list(strides).count(stride), axis=0))
    return np.concatenate(layers)


def overlap(box: Floats, boxes: Floats) -> Floats:
    """Intersection over union of one box (4,) with each of boxes (N, 4)."""
    low = np.maximum(box[:2], boxes[:, :2])
    high = np.minimum(box[2:], boxes[:, 2:])
    common = np.prod(np.maximum(high - low, 0), axis=1)
    union = np.prod(box[2:] - box[:2]) + np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) - common
    return np.where(union > 0, common / np.maximum(union, 1e-12), 0).astype(np.float32)


def merge_overlapping(values: Floats, scores: Floats, minimum: float = 0.3) -> list[tuple[Floats, float]]:
    """Best first: each best box and all that overlap it become their average weighted by score.

    values: (N, 4 + 2 K), box then points. scores: (N,). minimum: intersection over union.
    """
    order = np.argsort(-scores, kind="stable")
    values, scores = values[order], scores[order]
    merged = []
    while len(scores):
        same = overlap(values[0, :4], values[:, :4]) > minimum
        same[0] = True
        merged.append((np.average(values[same], axis=0, weights=scores[same]).astype(np.float32), float(scores[0])))
        values, scores = values[~same], scores[~same]
    return merged


class Detector:
    """A detector on a square of the picture. The square is drawn black where it leaves the frame.

    strides: of the net's feature maps. minimum_score: 0..1, detections below are dropped.
    """

    def __init__(self, net: Net, strides: Sequence[int], minimum_score: float) -> None:
        self.net = net
        self.minimum_score = minimum_score
        self.anchors = anchor_centres(net.size, strides)

    def __call__(self, picture: Picture, roi: Roi) -> list[Detection]:
        """All detections in `roi`, best first, in image pixels. The boxes are upright in the crop, not in the image,
        when the square is turned: then they are the bounds of the turned box."""
        raw, logits = self.net(picture.crop(roi, self.net.size, low=-1.0, black_outside=True))
        scores = (1.0 / (1.0 + np.exp(-np.clip(logits[:, 0], -60, 60)))).astype(np.float32)
        found = scores >= self.minimum_score
        if not found.any():
            return []
        points = raw[found].reshape(found.sum(), -1, 2) / np.float32(self.net.size)
        half = points[:, 1:2] / 2
        points = np.concatenate([points[:, :1], points[:, 2:]], axis=1) + self.anchors[found][:, None]
        values = np.concatenate([points[:, :1] - half, points[:, :1] + half, points[:, 1:]], axis=1)
        merged = merge_overlapping(values.reshape(len(values), -1).astype(np.float32), scores[found])
        return [self._in_image(value, score, roi) for value, score in merged]

    @staticmethod
    def _in_image(value: Floats, score: float, roi: Roi) -> Detection:
        x0, y0, x1, y1 = value[:4]
        corners: NDArray[np.float32] = roi.to_image(np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]))
        box = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
        return Detection(box, roi.to_image(value[4:].reshape(-1, 2)), score)
