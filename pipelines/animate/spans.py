"""Parts of sequences: which frames a span at a lower rate takes, and key points and bodies of some frames only."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from pipelines.clip import BodySequence, Keypoints

PER_FRAME = (
    "expression",
    "global_orient",
    "body_pose",
    "left_hand_pose",
    "right_hand_pose",
    "jaw_pose",
    "transl",
    "valid",
)


def span_frames(
    rate: Fraction, length: int, start: float, seconds: float | None, fps: float | None
) -> tuple[list[int], Fraction]:
    """Frame numbers of [start, start + seconds) at `fps` frames a second, the nearest in time, and the rate they have.

    rate, length: of the whole sequence. fps: None or more than `rate`: all frames.
    """
    first = max(0, int(np.ceil(float(start * rate) - 1e-4)))
    last = length if seconds is None else min(length, int(np.ceil(float((start + seconds) * rate) - 1e-4)))
    step = max(rate / Fraction(fps).limit_denominator(100_000), Fraction(1)) if fps else Fraction(1)
    half = Fraction(1, 2)
    count = max(0, int((last - first) / step) + 2)
    numbers = [first + (k * step + half).__floor__() for k in range(count)]
    return [number for number in numbers if number < last], rate / step


def part_of_body(body: BodySequence, rows: slice | NDArray[np.int64]) -> BodySequence:
    """Some frames of a sequence."""
    return replace(body, **{name: getattr(body, name)[rows] for name in PER_FRAME})


def part_of_keypoints(keypoints: Keypoints, rows: slice | NDArray[np.int64]) -> Keypoints:
    """Some frames of key points."""
    world = None if keypoints.world is None else keypoints.world[rows]
    return replace(
        keypoints,
        points=keypoints.points[rows],
        scores=keypoints.scores[rows],
        boxes=keypoints.boxes[rows],
        world=world,
    )
