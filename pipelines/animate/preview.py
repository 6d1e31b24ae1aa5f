"""A sheet to look at before a job is run, made without the model."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from PIL.Image import Resampling

from pipelines.animate.cautions import Caution
from pipelines.animate.estimates import Estimate
from pipelines.animate.framing import Framing
from pipelines.animate.motion import Motion, Picture
from pipelines.animate.spans import part_of_body, part_of_keypoints
from pipelines.body.swap_sheet import preview_sheet
from pipelines.video.reader import ClipReader

COLUMNS = 6
HEIGHT = 240
LINE = 22
SHEET_FILE = "preview.png"


def write_sheet(
    path: Path, reference: Estimate, driving: Estimate, motion: Motion, framing: Framing, cautions: list[Caution]
) -> None:
    """Reference, moments of the driver, both maps before and after the swap; under it what the model gets, and the
    cautions."""
    assert reference.picture is not None, "a reference is a picture"
    rows = np.unique(np.linspace(0, len(driving) - 1, min(COLUMNS, len(driving))).astype(int))
    sheet = preview_sheet(
        motion.body,
        reference.picture,
        reference.body,
        _moments(driving, rows),
        part_of_body(driving.body, rows),
        part_of_keypoints(driving.keypoints, rows),
        part_of_body(motion.sequence, rows),
        columns=COLUMNS,
        height=HEIGHT,
    )
    given = _beside([framing.reference(reference.picture), *_given(motion, framing, rows)], HEIGHT)
    lines = [f"{caution.key}: {caution.message}" for caution in cautions] or ["no cautions"]
    width = max(sheet.shape[1], given.shape[1])
    stack = [_padded(sheet, width), _padded(given, width), _text(lines, width)]
    Image.fromarray(np.concatenate(stack)).save(path, compress_level=6)


def _moments(driving: Estimate, rows: np.ndarray) -> Picture:
    if driving.clip is None:  # saved poses bring no pictures
        width, height = driving.size
        return np.full((len(rows), height, width, 3), 40, np.uint8)
    with ClipReader(driving.clip) as reader:
        return reader.frames([int(row) for row in rows])


def _given(motion: Motion, framing: Framing, rows: np.ndarray) -> list[Picture]:
    """The two maps of some frames as the model gets them, each pair overlaid."""
    some = Motion(motion.body, part_of_body(motion.sequence, rows), part_of_keypoints(motion.driving, rows))
    return [np.maximum(skeleton, shaded // 2) for skeleton, shaded in some.maps(framing, "plain")]


def _beside(pictures: list[Picture], height: int) -> Picture:
    scaled = []
    for picture in pictures:
        size = max(1, round(picture.shape[1] * height / picture.shape[0])), height
        scaled.append(np.array(Image.fromarray(picture).resize(size, Resampling.LANCZOS)))
        scaled.append(np.zeros((height, 4, 3), np.uint8))
    return np.concatenate(scaled, axis=1)


def _padded(picture: Picture, width: int) -> Picture:
    return np.pad(picture, ((0, 0), (0, width - picture.shape[1]), (0, 0)))


def _text(lines: list[str], width: int) -> Picture:
    canvas = np.zeros((LINE * len(lines) + 8, width, 3), np.uint8)
    for number, line in enumerate(lines):
        cv2.putText(
            canvas, line, (6, LINE * (number + 1) - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 220, 120), 1, cv2.LINE_AA
        )
    return canvas
