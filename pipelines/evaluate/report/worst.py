"""The worst frames as pictures: the result, the truth, and their difference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.clip import Frames
from pipelines.engine.atomic import whole_file
from pipelines.evaluate.pairs import Pair
from pipelines.evaluate.resize import pil_bicubic, to_bytes
from pipelines.evaluate.run import Evaluation
from pipelines.evaluate.sources import Video, frames_of

FOLDER = "worst"
MOST = 12
SIDE = 512
# Differences are shown this many times as large: a few levels matter and cannot be seen.
GAIN = 4


@dataclass(frozen=True)
class Case:
    """A frame among the worst. pictures: paths below the output folder: result, truth, difference."""

    video: str
    frame: int
    value: float
    pictures: tuple[str, str, str]
    size: tuple[int, int]


def write_worst(done: Evaluation, out: Path) -> list[Case]:
    """The worst frames of all videos, the worst first. Replaces what lay in OUT/worst."""
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.webp"):
        old.unlink()
    chosen = [(value, index, frame) for index, video in enumerate(done.videos) for frame, value in video.worst]
    chosen.sort(key=lambda each: each[0] if (done.judge or "").startswith("ssim") else -each[0])
    return [_case(done.pairs[index], frame, value, number, folder)
            for number, (value, index, frame) in enumerate(chosen[:MOST])]  # fmt: skip


def _case(pair: Pair, frame: int, value: float, number: int, folder: Path) -> Case:
    ours, theirs = (_frame(video, frame, pair.size) for video in (pair.generated, pair.truth))
    difference = np.minimum(GAIN * np.abs(ours.astype(np.int16) - theirs), 255).astype(np.uint8)
    scale = min(1.0, SIDE / max(pair.size))
    size = (max(1, round(pair.size[0] * scale)), max(1, round(pair.size[1] * scale)))
    names = []
    for what, picture in (("result", ours), ("truth", theirs), ("difference", difference)):
        name = f"{number:02d}-{what}.webp"
        with whole_file(folder / name) as path:
            Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS).save(path, "WEBP", quality=90)
        names.append(f"{FOLDER}/{name}")
    return Case(pair.name, frame, value, (names[0], names[1], names[2]), size)


def _frame(video: Video, number: int, size: tuple[int, int]) -> Frames:
    frames: Iterator[Frames] = frames_of(video)
    frame = next(islice(frames, number, None))
    return frame if (frame.shape[1], frame.shape[0]) == size else to_bytes(pil_bicubic(frame, size))
