"""Frames of a clip for several stages: the same however they are asked for, decoded once while they fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.annotate import clip_stage
from pipelines.annotate.clip_stage import DecodedFrames
from pipelines.video.encode import encode_clip
from pipelines.video.reader import ClipReader
from tests.video.moving_pictures import scene


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    encode_clip(path, (scene(1, number) for number in range(37)), 25)
    return path


@pytest.fixture(scope="module")
def expected(clip: Path) -> np.ndarray:
    with ClipReader(clip) as reader:
        return reader.frames(range(37))


class Counting(ClipReader):
    """Counts how often a clip is opened."""

    opened = 0

    def __init__(self, source: Path) -> None:
        super().__init__(source)
        type(self).opened += 1


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> type[Counting]:
    Counting.opened = 0
    monkeypatch.setattr(clip_stage, "ClipReader", Counting)
    return Counting


@pytest.mark.parametrize("sizes", [(16, 16), (16, 5), (5, 64)])
@pytest.mark.parametrize("budget", [1 << 30, 1000])
def test_every_stage_gets_all_frames_in_chunks_of_its_size(
    clip: Path, expected: np.ndarray, sizes: tuple[int, int], budget: int
):
    frames = DecodedFrames(clip, budget)
    for size in sizes:
        chunks = list(frames.chunks(size))
        assert max(map(len, chunks)) <= size
        np.testing.assert_array_equal(np.concatenate(chunks), expected)


def test_a_clip_that_fits_is_decoded_once(clip: Path, counting: type[Counting]):
    frames = DecodedFrames(clip, 1 << 30)
    for _ in range(3):
        list(frames.chunks())
    assert counting.opened == 1


def test_a_clip_that_does_not_fit_is_decoded_again(clip: Path, counting: type[Counting]):
    frames = DecodedFrames(clip, 1000)
    for _ in range(3):
        list(frames.chunks())
    assert counting.opened == 3


def test_reading_ahead_gives_the_same_frames_from_one_decode(
    clip: Path, expected: np.ndarray, counting: type[Counting]
):
    frames = DecodedFrames(clip, 1 << 30)
    frames.read_ahead()
    np.testing.assert_array_equal(np.concatenate(list(frames.chunks())), expected)
    assert counting.opened == 1
