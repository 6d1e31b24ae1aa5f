"""What a dataset must look like on disk, and the error when it does not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class BadLayout(ValueError):
    """A dataset that is not there or not as it is published. The message says what was found and what to do."""


@dataclass(frozen=True)
class Clip:
    """One video of a dataset. path: the video, or its folder of frames. part: train, test, or other (in neither)."""

    name: str
    path: Path
    part: str


@dataclass(frozen=True)
class Split:
    """A dataset, split. rule: how, in a sentence. notes: what is not as published."""

    clips: tuple[Clip, ...]
    rule: str
    notes: tuple[str, ...] = ()

    def part(self, name: str) -> list[Clip]:
        return [clip for clip in self.clips if clip.part == name]
