"""UBCFashion (Zablotskaia et al. 2019): 500 training and 100 test videos, by the lists that its page gives out."""

from __future__ import annotations

from pathlib import Path

from pipelines.evaluate.datasets.layout import BadLayout, Clip, Split
from pipelines.ingest.sources import VIDEO_EXTENSIONS, natural_key

COUNTS = {"train": 500, "test": 100}
HOW = (
    "UBCFashion is not fetched by this program.\n"
    "  1. Read the page https://vision.cs.ubc.ca/datasets/fashion/ and take its lists of addresses, fashion_train.txt "
    "and fashion_test.txt.\n"
    "  2. Download the addresses of each list into a folder of its name: train/*.mp4 and test/*.mp4.\n"
    "  3. Give the folder that holds train/ and test/ (or all videos in one folder with both lists beside them)."
)


def split(root: Path) -> Split:
    """Raises BadLayout with what to do."""
    if not root.is_dir():
        raise BadLayout(f"{root}: there is no such folder. {HOW}")
    notes: list[str] = []
    lists = {part: root / f"fashion_{part}.txt" for part in COUNTS}
    if all((root / part).is_dir() for part in COUNTS):
        clips = [Clip(path.stem, path, part) for part in COUNTS for path in _videos(root / part)]
        rule = "the folders train/ and test/"
    elif all(path.is_file() for path in lists.values()):
        clips, notes = _listed(root, lists)
        rule = "the lists fashion_train.txt and fashion_test.txt"
    else:
        raise BadLayout(f"{root}: holds neither train/ and test/ nor fashion_train.txt and fashion_test.txt. {HOW}")
    names = {part: {clip.name for clip in clips if clip.part == part} for part in COUNTS}
    both = sorted(names["train"] & names["test"])
    if both:
        raise BadLayout(f"{root}: {both[0]} is in both parts ({len(both)} such): the test would be on trained videos")
    for part, wanted in COUNTS.items():
        if not names[part]:
            raise BadLayout(f"{root}: no videos for {part}. {HOW}")
        if len(names[part]) != wanted:
            notes.append(f"{len(names[part])} videos for {part}, published are {wanted}")
    return Split(tuple(clips), rule, tuple(notes))


def _videos(folder: Path) -> list[Path]:
    found = [path for path in folder.iterdir() if path.suffix.lower() in VIDEO_EXTENSIONS]
    return sorted(found, key=lambda path: natural_key(path.name))


def _listed(root: Path, lists: dict[str, Path]) -> tuple[list[Clip], list[str]]:
    by_name = {path.name: path for path in _videos(root)}
    clips, missing, listed = [], [], set()
    for part, file in lists.items():
        for line in file.read_text(encoding="utf-8").splitlines():
            name = line.strip().rsplit("/", 1)[-1]
            if name and not name.startswith("#"):
                listed.add(name)
                if name in by_name:
                    clips.append(Clip(by_name[name].stem, by_name[name], part))
                else:
                    missing.append(name)
    notes = [f"{len(missing)} listed videos are missing, the first is {missing[0]}"] if missing else []
    notes += [f"{path}: in neither list" for name, path in by_name.items() if name not in listed]
    return clips, notes
