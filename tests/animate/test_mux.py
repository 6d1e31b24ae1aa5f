"""The file that is handed out: pictures untouched, the driver's sound of the same span."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipelines.animate.mux import with_sound, with_tags
from pipelines.video.encode import ClipWriter
from pipelines.video.reader import ClipReader

RATE = 48000


@pytest.fixture
def silent(tmp_path: Path) -> Path:
    """One second, ten frames."""
    with ClipWriter(tmp_path / "silent.mp4", (32, 48), Fraction(10)) as writer:
        for level in range(10):
            writer.write(np.full((48, 32, 3), 20 * level, np.uint8))
    return tmp_path / "silent.mp4"


@pytest.fixture
def loud(tmp_path: Path) -> Path:
    """Three seconds: silence, a tone, silence; a second each."""
    path = tmp_path / "loud.mp4"
    with av.open(str(path), "w") as out:
        video, sound = out.add_stream("libx264", rate=10), out.add_stream("aac", rate=RATE)
        video.width, video.height, video.pix_fmt = 32, 48, "yuv420p"
        sound.layout = "mono"
        for _ in range(30):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 32, 3), np.uint8), format="rgb24")
            out.mux(video.encode(frame))
        wave = np.zeros(3 * RATE, np.float32)
        wave[RATE : 2 * RATE] = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
        for start in range(0, len(wave), 1024):
            piece = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="fltp", layout="mono")
            piece.sample_rate, piece.pts, piece.time_base = RATE, start, Fraction(1, RATE)
            out.mux(sound.encode(piece))
        out.mux(video.encode(None))
        out.mux(sound.encode(None))
    return path


def test_tags_are_added_and_pictures_are_kept(silent: Path, tmp_path: Path):
    with_tags(silent, tmp_path / "tagged.mp4", {"comment": "AI-generated: test"})
    with_tags(silent, tmp_path / "again.mp4", {"comment": "AI-generated: test"})
    assert (tmp_path / "tagged.mp4").read_bytes() == (tmp_path / "again.mp4").read_bytes()
    with av.open(str(tmp_path / "tagged.mp4")) as opened:
        assert opened.metadata["comment"] == "AI-generated: test"
    with ClipReader(silent) as before, ClipReader(tmp_path / "tagged.mp4") as after:
        assert np.array_equal(before.frames(range(10)), after.frames(range(10)))


@pytest.mark.parametrize(("start", "loudest"), [(0.5, slice(24000, 48000)), (1.0, slice(0, 48000)), (2.5, None)])
def test_the_sound_is_that_of_the_span(silent: Path, loud: Path, tmp_path: Path, start: float, loudest: slice | None):
    assert with_sound(silent, tmp_path / "out.mp4", {}, loud, start) is None
    wave = sound_of(tmp_path / "out.mp4")
    expected = np.zeros(RATE)
    if loudest is not None:
        expected[loudest] = 0.5 / np.sqrt(2)
    heard = np.sqrt(np.convolve(wave[:RATE] ** 2, np.full(2400, 1 / 2400), "same"))
    inside = np.abs(np.convolve(expected, np.full(2400, 1 / 2400), "same") - expected) < 1e-6
    inside[:2400] = inside[-2400:] = False
    assert np.abs(heard - expected[: len(heard)])[inside[: len(heard)]].max() < 0.05


def test_a_driver_without_sound_is_told(silent: Path, tmp_path: Path):
    assert with_sound(silent, tmp_path / "out.mp4", {}, silent, 0) == "the driving video has no sound"
    assert (tmp_path / "out.mp4").stat().st_size > 0


def sound_of(path: Path) -> np.ndarray:
    with av.open(str(path)) as opened:
        frames = [frame.to_ndarray()[0] for frame in opened.decode(audio=0)]
    return np.concatenate(frames)
