"""How far a face is turned to the side, from the detector's five points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# How far the tip of the nose is before the plane of the eyes, in distances between the eyes. 0.46 on the free body, 0.5
# to 0.6 on other mean faces; an error of 0.1 is 5 degrees at a yaw of 45.
NOSE_DEPTH = 0.5


def yaw(points: NDArray[np.floating]) -> NDArray[np.float32]:
    """Degrees (...,) of faces with points (..., 5, 2): eye, eye, nose, mouth corners, as SCRFD orders them.

    Positive when the face looks to the picture's right. Under weak perspective the eyes are `d cos(yaw)` apart, and the
    tip of the nose is `NOSE_DEPTH d sin(yaw)` beside the middle between them, so with both measured along the line of
    the eyes (which takes out the head's tilt)

        tan(yaw) = (nose - middle of the eyes) . e / |eye - eye| / NOSE_DEPTH,   e the unit vector along the eyes.

    Beyond about 70 degrees, where detectors guess the hidden eye, the number only says "turned away".
    """
    left, right, nose = (np.asarray(points, np.float64)[..., index, :] for index in range(3))
    between = right - left
    square = np.maximum((between * between).sum(axis=-1), 1e-12)
    beside = ((nose - (left + right) / 2) * between).sum(axis=-1) / square
    return np.degrees(np.arctan(beside / NOSE_DEPTH)).astype(np.float32)
