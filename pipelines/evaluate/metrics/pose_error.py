"""How far the result's pose is from the driving one: key points of both, by one estimator."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.clip import BODY, Keypoints

SEEN = 0.3


def pose_errors(generated: Keypoints, driving: Keypoints) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(error, missed), each (T,), NaN in frames where the driving pose shows no body point.

    error: mean distance of the 17 body points that are seen in both, in diagonals of the driving points' bounds; NaN
    too where none is. missed: the share, 0..1, of the driving pose's seen points that are not seen in the result.
    Raises ValueError for different numbers of frames.
    """
    if len(generated) != len(driving):
        raise ValueError(f"{len(generated)} frames of key points against {len(driving)}")
    wanted = driving.scores[:, BODY] > SEEN
    both = wanted & (generated.scores[:, BODY] > SEEN)
    distance = np.linalg.norm(generated.points[:, BODY].astype(np.float64) - driving.points[:, BODY], axis=2)
    errors, missed = np.full((2, len(driving)), np.nan)
    for index in np.flatnonzero(wanted.any(axis=1)):
        points = driving.points[index, BODY][wanted[index]]
        diagonal = float(np.linalg.norm(points.max(axis=0) - points.min(axis=0)))
        missed[index] = 1 - both[index].sum() / wanted[index].sum()
        if both[index].any() and diagonal > 0:
            errors[index] = distance[index][both[index]].mean() / diagonal
    return errors, missed
