from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

from pipelines.video import colour
from pipelines.video.decode import Decoder, Picture, working_size
from pipelines.video.probe import BadVideo
from tests.video.moving_pictures import (
    BLUE,
    GREEN,
    RED,
    YELLOW,
    mark_position,
    quarter_colours,
    quarters,
    write_av1,
    write_video,
)


def rgb(picture: Picture) -> NDArray[np.uint8]:
    return colour.frame_to_rgb(colour.planes_to_frame(picture.planes), VideoReformatter())


def assert_colours(image: NDArray[np.uint8], expected: list[tuple[int, int, int]], tolerance: int = 4) -> None:
    assert np.abs(np.array(quarter_colours(image)) - np.array(expected)).max() <= tolerance


def film(n: int = 30) -> list[NDArray[np.uint8]]:
    return [quarters(i) for i in range(n)]


FORMATS: dict[str, dict[str, Any]] = {
    "h264.mp4": {},
    "h264.mov": {"rate": Fraction(24000, 1001)},
    "h264.mkv": {"rate": Fraction(30000, 1001)},
    "h264.ts": {"container": "mpegts"},
    "h264.flv": {},
    "h264-b-frames.avi": {"options": {"bf": "3"}},
    "h264-10bit.mp4": {"pix_fmt": "yuv420p10le"},
    "h264-444.mp4": {"pix_fmt": "yuv444p"},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none", "preset": "ultrafast"}},
    "hevc-10bit.mkv": {
        "codec": "libx265",
        "pix_fmt": "yuv420p10le",
        "options": {"x265-params": "log-level=none", "preset": "ultrafast"},
    },
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime", "crf": "20"}},
    "av1.mp4": {"options": {"preset": "12", "crf": "20"}},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"qscale": "2", "flags": "+qscale"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "container": "mpeg", "options": {"b": "4000000"}},
    "interlaced.ts": {"container": "mpegts", "options": {"x264-params": "interlaced=1:log-level=none"}},
    "audio.mp4": {"audio": True},
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_frame_of_a_constant_rate_source_comes_once_in_order(name: str, tmp_path: Path) -> None:
    write = write_av1 if name.startswith("av1") else write_video
    decoder = Decoder(write(tmp_path / name, film(), **FORMATS[name]))
    pictures = list(decoder)
    assert [mark_position(rgb(p)) for p in pictures] == list(range(30))
    assert [p.index for p in pictures] == list(range(30))
    assert decoder.fps == FORMATS[name].get("rate", 30)
    assert not any(p.jump for p in pictures)
    assert_colours(rgb(pictures[10]), [RED, GREEN, BLUE, YELLOW], tolerance=8)


def test_writing_av1_leaves_the_process_its_priority(tmp_path: Path) -> None:
    write_av1(tmp_path / "a.mp4", film(2))
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


@pytest.mark.parametrize(
    ("matrix", "colour_range"),
    [
        (Colorspace.ITU601, ColorRange.MPEG),
        (Colorspace.ITU601, ColorRange.JPEG),
        (Colorspace.ITU709, ColorRange.MPEG),
        (Colorspace.ITU709, ColorRange.JPEG),
    ],
)
def test_tagged_colours_are_right(tmp_path: Path, matrix: Colorspace, colour_range: ColorRange) -> None:
    path = write_video(tmp_path / "a.mp4", film(5), matrix=matrix, colour_range=colour_range, tagged=True)
    assert_colours(rgb(list(Decoder(path))[2]), [RED, GREEN, BLUE, YELLOW])


def test_untagged_small_video_is_bt601_and_large_is_bt709(tmp_path: Path) -> None:
    small = write_video(tmp_path / "a.mp4", film(3), matrix=Colorspace.ITU601)
    large = [quarters(i, 1280, 720) for i in range(3)]
    large_path = write_video(tmp_path / "b.mp4", large, matrix=Colorspace.ITU709, options={"preset": "ultrafast"})
    for path in (small, large_path):
        assert_colours(rgb(list(Decoder(path))[1]), [RED, GREEN, BLUE, YELLOW])


@pytest.mark.parametrize("container", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize(
    ("rotation", "expected"),
    [
        ((90, False), [GREEN, YELLOW, RED, BLUE]),
        ((-90, False), [BLUE, RED, YELLOW, GREEN]),
        ((180, False), [YELLOW, BLUE, GREEN, RED]),
        ((0, True), [GREEN, RED, YELLOW, BLUE]),
    ],
)
def test_pictures_come_upright(
    tmp_path: Path, container: str, rotation: tuple[float, bool], expected: list[tuple[int, int, int]]
) -> None:
    path = write_video(tmp_path / f"a.{container}", film(3), rotation=rotation)
    picture = list(Decoder(path))[1]
    assert picture.size == ((128, 192) if abs(rotation[0]) == 90 else (192, 128))
    assert_colours(rgb(picture), expected)


def test_oblong_pixels_become_square(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", film(3), pixel_aspect=Fraction(3, 2))
    assert next(iter(Decoder(path))).size == (288, 128)


def test_odd_sizes_become_even(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [quarters(i, 193, 127) for i in range(3)], pix_fmt="yuv444p")
    assert next(iter(Decoder(path))).size == (192, 128)


def test_variable_rate_shows_the_nearest_frame(tmp_path: Path) -> None:
    intervals = np.random.default_rng(0).choice([20, 33, 50], 40)
    stamps = np.cumsum(intervals).tolist()
    path = write_video(tmp_path / "a.mp4", film(40), stamps=stamps, clock=Fraction(1, 1000))
    decoder = Decoder(path)
    pictures = list(decoder)
    assert "variable_rate" in decoder.notes
    times = (np.array(stamps) - stamps[0]) / 1000
    for picture in pictures:
        shown = mark_position(rgb(picture))
        distance = np.abs(times - (picture.time - pictures[0].time))
        assert distance[shown] <= distance.min() + 2e-3
    span = pictures[-1].time - pictures[0].time
    assert span == pytest.approx(float((len(pictures) - 1) / decoder.fps), abs=1e-5)


def test_dropped_frames_are_held(tmp_path: Path) -> None:
    kept = [i for i in range(40) if i not in (10, 11, 25)]
    path = write_video(tmp_path / "a.mp4", [quarters(i) for i in kept], stamps=kept, clock=Fraction(1, 30))
    shown = [mark_position(rgb(p)) for p in Decoder(path)]
    assert len(shown) == 40
    assert [s for i, s in enumerate(shown) if i in kept] == kept


@dataclass
class Shown:
    """As much of a decoded frame as the timing needs."""

    name: str
    time: float | None


def timed(tmp_path: Path, times: list[float | None]) -> list[str]:
    decoder = Decoder(write_video(tmp_path / "a.mp4", film(5), rate=10))
    frames = [(Shown(str(i), time), False) for i, time in enumerate(times)]
    return [frame.name for frame, _, _ in decoder._on_grid(iter(frames))]  # type: ignore[arg-type, attr-defined]


def test_a_repeated_stamp_shows_the_later_picture(tmp_path: Path) -> None:
    assert timed(tmp_path, [0.0, 0.1, 0.1, 0.2]) == ["0", "2", "3"]


def test_a_backward_stamp_does_not_turn_back_time(tmp_path: Path) -> None:
    assert timed(tmp_path, [0.0, 0.1, 0.05, 0.2]) == ["0", "2", "3"]


def test_missing_stamps_continue_at_the_rate(tmp_path: Path) -> None:
    assert timed(tmp_path, [None, None, None, 0.3]) == ["0", "1", "2", "3"]


def test_interlaced_sources_are_noted(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.ts", film(5), **FORMATS["interlaced.ts"])
    decoder = Decoder(path)
    assert "interlaced" in decoder.notes


def test_a_hole_is_marked_and_not_filled(tmp_path: Path) -> None:
    stamps = [i if i < 15 else i + 300 for i in range(30)]
    decoder = Decoder(write_video(tmp_path / "a.mp4", film(), stamps=stamps, clock=Fraction(1, 30)))
    pictures = list(decoder)
    assert [p.index for p in pictures if p.jump] == [15]
    assert len(pictures) == 30
    assert "holes:1" in decoder.notes


def test_a_time_stamp_from_the_far_future_makes_no_frames(tmp_path: Path) -> None:
    stamps = [*range(29), 30 * 3600 * 24 * 365]
    path = write_video(tmp_path / "a.mkv", film(), stamps=stamps, clock=Fraction(1, 30))
    assert len(list(Decoder(path))) == 30


def test_fast_sources_are_thinned(tmp_path: Path) -> None:
    decoder = Decoder(write_video(tmp_path / "a.mp4", film(30), rate=120), max_fps=60)
    assert [mark_position(rgb(p)) for p in decoder] == list(range(0, 30, 2))
    assert (decoder.fps, decoder.notes) == (60, ["rate_divided:2"])


@pytest.fixture(scope="module")
def faststart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    noise = np.random.default_rng(0).integers(0, 60, (60, 128, 192, 3), dtype=np.uint8)
    pictures = [np.minimum(quarters(i).astype(int) + noise[i], 255).astype(np.uint8) for i in range(60)]
    path = tmp_path_factory.mktemp("faststart") / "a.mp4"
    return write_video(path, pictures, options={"g": "20"}, container_options={"movflags": "+faststart"})


@pytest.mark.parametrize("share", [0.2, 0.35, 0.5, 0.77, 0.9])
def test_a_truncated_file_gives_its_good_frames_and_says_so(faststart: Path, tmp_path: Path, share: float) -> None:
    whole = [p.planes for p in Decoder(faststart)]
    data = faststart.read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[: int(len(data) * share)])
    decoder = Decoder(tmp_path / "a.mp4")
    pictures = list(decoder)
    assert 0 < len(pictures) < 60
    assert f"truncated:{len(pictures)}/60" in decoder.notes
    for picture in pictures:
        np.testing.assert_array_equal(picture.planes, whole[round(picture.time * 30)])


def test_damage_in_the_middle_lasts_to_the_next_key_frame_only(faststart: Path, tmp_path: Path) -> None:
    whole = [p.planes for p in Decoder(faststart)]
    data = bytearray(faststart.read_bytes())
    start = data.index(b"mdat") + (len(data) - data.index(b"mdat")) * 4 // 10
    data[start : start + 400] = bytes(400)
    (tmp_path / "a.mp4").write_bytes(data)
    decoder = Decoder(tmp_path / "a.mp4")
    pictures = list(decoder)
    assert sum(p.jump for p in pictures) == 1
    assert len(pictures) >= 40
    wrong = [p.index for p in pictures if not np.array_equal(p.planes, whole[round(p.time * 30)])]
    assert len(wrong) <= 1  # the damaged picture itself, when the decoder does not tell


def test_a_change_of_size_goes_through(tmp_path: Path) -> None:
    parts = []
    for name, width in (("a", 192), ("b", 128)):
        part = [quarters(i, width, 128) for i in range(10)]
        options = {"x264-params": "repeat-headers=1:log-level=none", "bf": "0"}
        parts.append(write_video(tmp_path / f"{name}.h264", part, container="h264", options=options).read_bytes())
    (tmp_path / "c.h264").write_bytes(b"".join(parts))
    assert [p.size for p in Decoder(tmp_path / "c.h264")][9:11] == [(192, 128), (128, 128)]


def test_a_video_without_one_good_frame_is_undecodable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = Decoder(write_video(tmp_path / "a.mp4", film(5)))
    monkeypatch.setattr(decoder, "_source_frames", lambda *_: iter(()))
    with pytest.raises(BadVideo, match="not one good frame"):
        list(decoder)


def test_two_runs_give_the_same_bytes(faststart: Path) -> None:
    first, second = (b"".join(p.planes.tobytes() for p in Decoder(faststart, short_side=100)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1920, 1080), (1366, 768)),
        ((1080, 1920), (768, 1366)),
        ((512, 640), (512, 640)),
        ((853, 480), (852, 480)),
        ((4096, 1000), (2048, 500)),
        ((768, 768), (768, 768)),
    ],
)
def test_working_size(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert working_size(*size) == expected


def test_hdr_is_brought_to_ordinary_range(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    options = {"x265-params": "log-level=none:transfer=arib-std-b67:colorprim=bt2020:colormatrix=bt2020nc"}
    grey = np.full((128, 192, 3), 128, np.uint8)
    write_video(path, [grey] * 3, codec="libx265", pix_fmt="yuv420p10le", matrix=Colorspace.BT2020, options=options)
    decoder = Decoder(path)
    centre = rgb(next(iter(decoder)))[64, 96].astype(int)
    assert "hdr:hlg" in decoder.notes
    assert centre.max() - centre.min() <= 2
    assert 90 < centre.mean() < 190


@pytest.mark.parametrize("seed", range(24))
def test_a_damaged_file_ends_in_pictures_or_a_reason(faststart: Path, tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(faststart.read_bytes())
    for place in rng.integers(0, len(data) - 64, int(rng.choice([1, 5, 40]))).tolist():
        kind = rng.integers(3)
        if kind == 0:
            data[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[place : place + 64] = bytes(64)
        else:
            del data[place : place + int(rng.integers(1, 64))]
    (tmp_path / "a.mp4").write_bytes(data)
    with suppress(BadVideo):
        decoder = Decoder(tmp_path / "a.mp4")
        assert 0 < len(list(decoder)) <= 2 * decoder.info.packets
