"""Which result belongs to which truth: by name, one to one, of equal size and length, or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipelines.evaluate.sources import BadInput, Video, find_videos, size_and_count

# LPIPS halves a picture four times, SSIM's window is 11 wide.
LEAST_SIDE = 16


@dataclass(frozen=True)
class Pair:
    """A result and its truth. size: (width, height) of both, or what they are to be resized to; frames: of each."""

    name: str
    generated: Video
    truth: Video
    size: tuple[int, int]
    frames: int


@dataclass(frozen=True)
class Pairs:
    """All pairs of two folders, and notes on what else lay there."""

    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]


def match(generated: Path, truth: Path, size: tuple[int, int] | None = None) -> Pairs:
    """The pairs of two folders, in natural order.

    size: (width, height) to which both sides are to be resized, which alone allows them to differ in size.
    Raises BadInput naming every video without a partner, every pair of different length or size, and videos of a
    single frame.
    """
    results, beside = find_videos(generated)
    truths, beside_truth = find_videos(truth)
    by_name = {video.name: video for video in truths}
    names = {video.name for video in results}
    problems = [f"{video.where}: {truth} has no {video.name!r}" for video in results if video.name not in by_name]
    problems += [f"{video.where}: {generated} has no {video.name!r}" for video in truths if video.name not in names]
    if problems:
        raise BadInput(problems)
    pairs = []
    for result in results:
        try:
            pairs.append(_pair(result, by_name[result.name], size))
        except BadInput as error:
            problems += error.problems
    if problems:
        raise BadInput(problems)
    return Pairs(tuple(pairs), tuple(f"left alone: {each}" for each in (*beside, *beside_truth)))


def _pair(result: Video, truth: Video, size: tuple[int, int] | None) -> Pair:
    (own, count), (other, wanted) = size_and_count(result), size_and_count(truth)
    problems = []
    if count != wanted:
        problems.append(f"{result.where}: {count} frames, {truth.where} has {wanted}; cut both to the same frames")
    elif count == 1:
        problems.append(f"{result.where}: a single frame is no video")
    elif min(size or own) < LEAST_SIDE:
        width, height = size or own
        problems.append(f"{result.where}: {width} x {height}; sides of at least {LEAST_SIDE} pixels are needed")
    if own != other and size is None:
        problems.append(f"{result.where}: {own[0]} x {own[1]}, {truth.where} has {other[0]} x {other[1]}; "
                        "--size WIDTHxHEIGHT resizes both and says so in every number")  # fmt: skip
    if problems:
        raise BadInput(problems)
    return Pair(result.name, result, truth, size or own, count)
