"""A folder of one's own: train/ and test/ as they are, or a split that is made from the names and never changes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pipelines.evaluate.datasets.layout import BadLayout, Clip, Split
from pipelines.evaluate.sources import BadInput, find_videos

TEST_SHARE = 0.1


def split(root: Path) -> Split:
    """By folders train/ and test/ where both are there; else a tenth is test, by the hash of the name up to its first
    "_" or ".", so that parts of one video stay together and new videos do not move old ones. Raises BadLayout."""
    others: list[str] = []
    try:
        if all((root / part).is_dir() for part in ("train", "test")):
            clips = [_clip(v.name, v.where, part) for part in ("train", "test") for v in find_videos(root / part)[0]]
            rule = "the folders train/ and test/"
        else:
            videos, others = find_videos(root)
            clips = [_clip(video.name, video.where, part_of(video.name)) for video in videos]
            rule = "a tenth is test, by the hash of each name up to its first '_' or '.'"
    except BadInput as error:
        raise BadLayout(f"{error}; a folder of videos, or one with train/ and test/, is expected") from error
    notes = [f"left alone: {each}" for each in others]
    if not any(clip.part == "test" for clip in clips):
        notes.append("no video falls into test; make the folders train/ and test/ by hand")
    return Split(tuple(clips), rule, tuple(notes))


def part_of(name: str) -> str:
    group = name.replace(".", "_").split("_", 1)[0]
    drawn = int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") / 2**64
    return "test" if drawn < TEST_SHARE else "train"


def _clip(name: str, where: str, part: str) -> Clip:
    return Clip(name, Path(where), part)
