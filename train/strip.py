"""Validation clips as pictures: rows of frames, and a video with everything side by side."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipelines.engine.atomic import whole_file
from pipelines.video.encode import encode_clip

Frames = NDArray[np.uint8]
MARGIN = 78
GAP = 2


def write_strip(path: Path, rows: Mapping[str, Frames]) -> None:
    """A PNG with a row per name. rows: uint8 (T, H, W, 3); a row may have fewer frames than the others."""
    columns = max(len(frames) for frames in rows.values())
    height, width = next(iter(rows.values())).shape[1:3]
    sheet = np.full((len(rows) * (height + GAP), MARGIN + columns * (width + GAP), 3), 24, np.uint8)
    for row, frames in enumerate(rows.values()):
        top = row * (height + GAP)
        for column, frame in enumerate(frames):
            left = MARGIN + column * (width + GAP)
            sheet[top : top + height, left : left + width] = frame
    image = Image.fromarray(sheet)
    pen = ImageDraw.Draw(image)
    for row, name in enumerate(rows):
        pen.text((4, row * (height + GAP) + 4), name, fill=(230, 230, 230))
    with whole_file(path) as temporary:
        image.save(temporary, format="PNG")


def write_video(path: Path, rows: Mapping[str, Frames], fps: float) -> None:
    """An mp4, the rows side by side; a row with one frame stands still."""
    frames = max(len(row) for row in rows.values())
    still = [np.repeat(row, frames, axis=0) if len(row) == 1 else row for row in rows.values()]
    with whole_file(path) as temporary:
        encode_clip(temporary, list(np.concatenate(still, axis=2)), Fraction(fps).limit_denominator(1001))
