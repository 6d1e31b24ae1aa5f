"""SimCC: a coordinate as a classification over bins along each axis (Li et al. 2022, as in RTMPose and DWPose)."""

from __future__ import annotations

import numpy as np

from pipelines.clip import Floats


def decode(simcc_x: Floats, simcc_y: Floats, bins: float) -> tuple[Floats, Floats]:
    """simcc_x: (N, K, W * bins), simcc_y: (N, K, H * bins): responses. bins: number of them to a pixel.

    Returns the points (N, K, 2) in pixels of the crop, counted from the centre of its first one, and the scores (N, K),
    the smaller of the two highest responses: a point is as sure as its less sure axis. Scores are cut to 0..1: the nets
    learnt a peak of 1 but may pass it, and what they rate below 0 was not seen.
    """
    points = np.stack([simcc_x.argmax(-1), simcc_y.argmax(-1)], axis=-1) / bins
    scores = np.minimum(simcc_x.max(-1), simcc_y.max(-1))
    return points.astype(np.float32), np.clip(scores, 0, 1).astype(np.float32)
