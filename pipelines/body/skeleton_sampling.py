"""Bilinear sampling of a large, mostly black drawing: only where something was drawn, and cleared as it is read.

The values are those of OpenCV's `resize` with INTER_LINEAR, which reads four pixels however much it shrinks. That is
what thins the strokes of the confidence-dimmed skeletons, so an area average would be a different picture. Resizing the
whole canvas takes longer than drawing on it.
"""

from __future__ import annotations

import numpy as np

from pipelines.body.compiled import compiled

PIECE = 8
"""Pixels of the small picture: long strokes are handled in pieces of this length, as their boxes hold less black."""


@compiled
def _sample_box(canvas, small, left, top, right, bottom):
    """Pixels left..right, top..bottom (inclusive) of `small` from `canvas`, in OpenCV's fixed-point arithmetic."""
    scale_x = canvas.shape[1] / small.shape[1]
    scale_y = canvas.shape[0] / small.shape[0]
    for y in range(top, bottom + 1):
        fy = np.float32((y + 0.5) * scale_y - 0.5)
        y0 = np.int64(np.floor(fy))
        fy = fy - np.float32(y0)
        if y0 < 0:
            y0, fy = np.int64(0), np.float32(0)
        y1 = min(y0 + 1, canvas.shape[0] - 1)
        by1 = np.int64(np.rint(fy * np.float32(2048)))
        by0 = np.int64(np.rint((np.float32(1) - fy) * np.float32(2048)))
        for x in range(left, right + 1):
            fx = np.float32((x + 0.5) * scale_x - 0.5)
            x0 = np.int64(np.floor(fx))
            fx = fx - np.float32(x0)
            if x0 < 0:
                x0, fx = np.int64(0), np.float32(0)
            x1 = min(x0 + 1, canvas.shape[1] - 1)
            bx1 = np.int64(np.rint(fx * np.float32(2048)))
            bx0 = np.int64(np.rint((np.float32(1) - fx) * np.float32(2048)))
            for k in range(3):
                upper = np.int64(canvas[y0, x0, k]) * bx0 + np.int64(canvas[y0, x1, k]) * bx1
                lower = np.int64(canvas[y1, x0, k]) * bx0 + np.int64(canvas[y1, x1, k]) * bx1
                value = (((by0 * (upper >> 4)) >> 16) + ((by1 * (lower >> 4)) >> 16) + 2) >> 2
                # Red and blue change places, as in the programs this follows.
                small[y, x, 2 - k] = value


@compiled
def sample_down(canvas, reach, small):
    """Shrinks `canvas` uint8 (H, W, 3) into the black `small` uint8 (h, w, 3), channels reversed, and blackens it.

    reach: float64 (N, 5), canvas pixels: strokes as segments x0, y0, x1, y1 and the distance from them that holds all
    of the stroke's pixels. What lies outside every reach must be black.
    """
    height, width = small.shape[0], small.shape[1]
    scale_x = canvas.shape[1] / width
    scale_y = canvas.shape[0] / height
    for clearing in range(2):
        for i in range(reach.shape[0]):
            x0, y0, x1, y1, r = reach[i]
            pieces = 1 + int(max(abs(x1 - x0) / scale_x, abs(y1 - y0) / scale_y) / PIECE)
            for p in range(pieces):
                ax = x0 + (x1 - x0) * p / pieces
                bx = x0 + (x1 - x0) * (p + 1) / pieces
                ay = y0 + (y1 - y0) * p / pieces
                by = y0 + (y1 - y0) * (p + 1) / pieces
                left, right = min(ax, bx) - r, max(ax, bx) + r
                top, bottom = min(ay, by) - r, max(ay, by) + r
                if clearing:
                    canvas[
                        max(int(top), 0) : max(int(bottom) + 2, 0), max(int(left), 0) : max(int(right) + 2, 0)
                    ] = 0
                else:
                    _sample_box(
                        canvas,
                        small,
                        max(int(left / scale_x) - 1, 0),
                        max(int(top / scale_y) - 1, 0),
                        min(int(right / scale_x) + 1, width - 1),
                        min(int(bottom / scale_y) + 1, height - 1),
                    )
