"""TikTok (Jafarian and Park 2021), split as DisCo does.

Published as folders of frames, 00001 to 00340, each with `images/` (and `densepose/`, `masks/`); DisCo's copies have
the frames right in the folders. DisCo trains on sequences 1 to 334; of its ten test videos eight were never released,
so the public test part is sequences 335 to 340 (DisCo#27, StableAnimator#118).
"""

from __future__ import annotations

import re
from pathlib import Path

from pipelines.evaluate.datasets.layout import BadLayout, Clip, Split
from pipelines.evaluate.sources import PICTURES
from pipelines.ingest.sources import VIDEO_EXTENSIONS, natural_key

FIRST_TEST, LAST = 335, 340
FPS = 30
HOW = (
    "TikTok is not fetched by this program: it is for research, and given out by its authors.\n"
    "  1. Read the terms on https://www.yasamin.page/hdnet_tiktok and download TikTok_dataset.zip there.\n"
    "  2. Unpack it and give its folder, the one that holds 00001 ... 00340."
)
RULE = (
    "sequences 1 to 334 train, 335 to 340 test (DisCo#27). The published tables used ten test videos, eight of which "
    "were never released: numbers on these six stand beside them, not in their place"
)
_NUMBER = re.compile(r"^(?:TiktokDance_)?(\d{1,5})$")


def split(root: Path) -> Split:
    """Raises BadLayout with what to do."""
    if not root.is_dir():
        raise BadLayout(f"{root}: there is no such folder. {HOW}")
    found: dict[int, Clip] = {}
    for path in sorted(root.iterdir(), key=lambda p: natural_key(p.name)):
        match = _NUMBER.match(path.stem if path.is_file() else path.name)
        clip = _clip(path) if match is not None else None
        if match is not None and clip is not None:
            number = int(match[1])
            if number in found:
                raise BadLayout(f"{path}: sequence {number} is there twice, {found[number].path} too")
            part = "train" if number < FIRST_TEST else "test" if number <= LAST else "other"
            found[number] = Clip(f"{number:05d}", clip, part)
    if not found:
        raise BadLayout(f"{root}: holds no sequences such as 00001/images/0000.png, 001/0000.png or 00001.mp4. {HOW}")
    missing = [number for number in range(1, LAST + 1) if number not in found]
    notes = [f"{len(missing)} of {LAST} sequences are missing, the first is {missing[0]:05d}"] if missing else []
    notes += [f"{clip.path}: not one of the 340, in neither part" for clip in found.values() if clip.part == "other"]
    return Split(tuple(found.values()), RULE, tuple(notes))


def _clip(path: Path) -> Path | None:
    """The video, or the folder that holds the frames."""
    if path.is_file():
        return path if path.suffix.lower() in VIDEO_EXTENSIONS else None
    for folder in (path / "images", path):
        if folder.is_dir() and any(each.suffix.lower() in PICTURES for each in folder.iterdir()):
            return folder
    return None
