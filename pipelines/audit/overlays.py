"""What was drawn over a video: black bars, captions, logos."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
BLACK = 24
# A stroke is this much lighter or darker than what is around it, in all but a tenth of the frames.
STROKE, ALWAYS = 60, 0.9
STROKE_WIDTH = 0.02
BANDS = 24


def black_bars(stack: Grey) -> tuple[int, int, int, int]:
    """Rows at top and bottom, columns at left and right that are black in every frame; stack: uint8 (N, H, W).

    An altogether black clip has none.
    """
    brightest = np.percentile(stack, 98, axis=0) if len(stack) > 50 else stack.max(axis=0)
    rows = np.percentile(brightest, 95, axis=1) > BLACK
    columns = np.percentile(brightest, 95, axis=0) > BLACK
    if not rows.any() or not columns.any():
        return 0, 0, 0, 0
    top, left = int(np.argmax(rows)), int(np.argmax(columns))
    return top, int(np.argmax(rows[::-1])), left, int(np.argmax(columns[::-1]))


def overlay_share(stack: Grey) -> float:
    """The densest band of thin strokes that stay where they are, as a share of the band; stack: uint8 (N, H, W).

    Letters and logos are thin, of strong contrast and do not move. A static background with such a texture (bricks,
    blinds) looks the same: the value is for review, and means nothing where nothing moves.
    """
    height, width = stack.shape[1:]
    size = max(3, round(min(height, width) * STROKE_WIDTH) | 1)
    kernel = np.ones((size, size), np.uint8)
    count = np.zeros((height, width), np.uint16)
    for grey in stack:
        hats = np.maximum(
            cv2.morphologyEx(grey, cv2.MORPH_TOPHAT, kernel), cv2.morphologyEx(grey, cv2.MORPH_BLACKHAT, kernel)
        )
        count += hats > STROKE
    strokes = (count >= ALWAYS * len(stack)).astype(np.float32)
    bands = cv2.resize(strokes, (3, BANDS), interpolation=cv2.INTER_AREA)
    return float(bands.max())
