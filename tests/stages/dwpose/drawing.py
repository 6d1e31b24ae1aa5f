"""Pictures with things at exactly known places, in continuous pixels."""

from __future__ import annotations

import numpy as np

from pipelines.clip import Floats, Frames

GREY = 128


def plain(width: int, height: int, level: int = GREY) -> Frames:
    return np.full((height, width, 3), level, np.uint8)


def rectangle(frame: Frames, box: Floats, colour: tuple[int, int, int]) -> Frames:
    """With x0 y0 x1 y1 that may lie between pixels: those are mixed by the share that is covered."""
    height, width = frame.shape[:2]
    covered = []
    for low, high, length in ((box[1], box[3], height), (box[0], box[2], width)):
        at = np.arange(length)
        covered.append(np.clip(np.minimum(at + 1, high) - np.maximum(at, low), 0, 1))
    alpha = (covered[0][:, None] * covered[1][None])[..., None]
    return np.round(frame * (1 - alpha) + np.array(colour) * alpha).astype(np.uint8)


def disc(frame: Frames, centre: Floats, radius: float, colour: Floats) -> None:
    """In place, with soft edges."""
    height, width = frame.shape[:2]
    reach = radius + 2
    x0, x1 = max(0, int(centre[0] - reach)), min(width, int(centre[0] + reach) + 1)
    y0, y1 = max(0, int(centre[1] - reach)), min(height, int(centre[1] + reach) + 1)
    y, x = np.mgrid[y0:y1, x0:x1] + 0.5
    alpha = np.clip(radius + 0.5 - np.hypot(x - centre[0], y - centre[1]), 0, 1)[..., None]
    part = frame[y0:y1, x0:x1]
    frame[y0:y1, x0:x1] = np.round(part * (1 - alpha) + np.asarray(colour) * alpha).astype(np.uint8)
