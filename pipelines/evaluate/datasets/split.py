"""A dataset checked and split: a list that `make shards` takes, a folder that `make evaluate` takes.

    OUT/train.txt        what to train on: paths for make shards SRC=OUT/train.txt
    OUT/test/            links to the true test videos, by name, for make evaluate TRUTH=OUT/test
    OUT/train/*.mp4      only where the dataset is frames: the training videos made of them
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from pipelines.engine.atomic import whole_file, write_whole
from pipelines.evaluate.datasets import generic, tiktok, ubc
from pipelines.evaluate.datasets.layout import BadLayout, Clip, Split
from pipelines.evaluate.sources import ARRAY, Video, frames_of, pictures_in
from pipelines.video.encode import encode_clip

ADAPTERS: dict[str, Callable[[Path], Split]] = {"generic": generic.split, "tiktok": tiktok.split, "ubc": ubc.split}


def split_dataset(name: str, root: Path, out: Path) -> Iterator[str]:
    """Check the dataset and write its split; yields what to tell, at the end the commands to go on with.

    Training videos of frames are encoded once (what is there already stays). Raises BadLayout, BadInput.
    """
    found = ADAPTERS[name](root)
    if out.resolve().is_relative_to(root.resolve()):
        raise BadLayout(f"--out {out} is the dataset itself, or in it; choose another folder")
    train, test = found.part("train"), found.part("test")
    yield f"{name}: {len(train)} videos to train on, {len(test)} to test on; rule: {found.rule}"
    yield from (f"note: {note}" for note in found.notes)
    lines = []
    for clip in train:
        lines.append(str(_as_video(clip, out / "train").resolve()))
    write_whole(out / "train.txt", ("\n".join(lines) + "\n").encode())
    _link(test, out / "test")
    yield f"wrote {out}/train.txt and {out}/test"
    yield f"train:    make shards SRC={out}/train.txt OUT=data/{name}"
    yield f"evaluate: make evaluate GENERATED=<your results> TRUTH={out}/test DATASET={name}"


def _as_video(clip: Clip, folder: Path) -> Path:
    """The clip's video; made of its frames, without the last row or column where these are odd."""
    if clip.path.is_file() and clip.path.suffix.lower() != ARRAY:
        return clip.path
    made = folder / f"{clip.name}.mp4"
    if made.is_file():
        return made
    if clip.path.is_file():
        video = Video(clip.name, "array", (str(clip.path),))
    else:
        video = Video(clip.name, "frames", tuple(map(str, pictures_in(clip.path))))
    with whole_file(made) as path:
        encode_clip(path, (_even(frame) for frame in frames_of(video)), Fraction(tiktok.FPS))
    return made


def _even(frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[:2]
    return np.ascontiguousarray(frame[: height - height % 2, : width - width % 2])


def _link(clips: list[Clip], folder: Path) -> None:
    """Links by the clips' names; those of an earlier split go, anything else in the folder is an error."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if not old.is_symlink():
            raise BadLayout(f"{old}: is not from an earlier split; choose another --out")
        old.unlink()
    for clip in clips:
        suffix = clip.path.suffix if clip.path.is_file() else ""
        os.symlink(clip.path.resolve(), folder / f"{clip.name}{suffix}")
