"""A face from a picture, turned and scaled so that its five points lie where ArcFace expects them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.clip import Floats, Frames

SIDE = 112
# Eye, eye, nose, corner of the mouth, corner of the mouth; from the picture's left. Source: insightface
# utils/face_align.py, to which every ArcFace recogniser was trained.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


def similarity(source: NDArray[np.floating], target: NDArray[np.floating]) -> NDArray[np.float64]:
    """The (2, 3) matrix of the turn, scale and shift that brings points (n, 2) closest to others, in least squares.

    Without reflection. Source: Umeyama 1991 in its two-dimensional closed form. Raises ValueError where all source
    points are one.
    """
    here, there = np.asarray(source, np.float64), np.asarray(target, np.float64)
    centre, goal = here.mean(axis=0), there.mean(axis=0)
    x, y = (here - centre).T
    u, v = (there - goal).T
    spread = (x * x + y * y).sum()
    if not spread > 0:
        raise ValueError("the points of the face are all in one place")
    a, b = (x * u + y * v).sum() / spread, (x * v - y * u).sum() / spread
    turn = np.array([[a, -b], [b, a]])
    return np.concatenate([turn, (goal - turn @ centre)[:, None]], axis=1)


def aligned(frame: Frames, points: Floats) -> Frames:
    """The face with five points (5, 2) in a frame (H, W, 3) as ArcFace sees it: uint8 (112, 112, 3), black outside.

    points: as the detector gives them. Their numbers are used as OpenCV's coordinates, as insightface does.
    """
    crop = cv2.warpAffine(frame, similarity(points, TEMPLATE), (SIDE, SIDE), flags=cv2.INTER_LINEAR)
    return np.asarray(crop, np.uint8)
