from __future__ import annotations

import os
import pickle
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pipelines.video.probe import BadVideo, probe
from tests.video.moving_pictures import quarters, write_audio, write_video


def reason(path: Path, **limits: float) -> str:
    with pytest.raises(BadVideo) as caught:
        probe(path, **limits)  # type: ignore[arg-type]
    assert str(path) in str(caught.value)
    return caught.value.reason


def pictures(n: int, width: int = 192, height: int = 128) -> list[np.ndarray]:
    return [quarters(i, width, height) for i in range(n)]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("plain") / "plain.mp4", pictures(40), audio=True)


def test_a_plain_video_is_described(plain: Path) -> None:
    info = probe(plain)
    assert (info.codec, info.pix_fmt, info.bit_depth) == ("h264", "yuv420p", 8)
    assert (info.width, info.height, info.fps, info.variable_rate) == (192, 128, 30, False)
    assert (info.frames, info.packets, info.has_audio, info.rotation) == (40, 40, True, 0)
    assert info.duration == pytest.approx(40 / 30)


def test_the_size_is_given_after_rotation_and_with_square_pixels(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", pictures(5), rotation=(90, False), pixel_aspect=Fraction(4, 3))
    info = probe(path)
    assert (info.width, info.height, info.rotation) == (128, 256, 90)


def test_an_empty_file_is_named_so(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    assert reason(tmp_path / "a.mp4") == "empty_file"


def test_a_missing_file_is_unreadable(tmp_path: Path) -> None:
    assert reason(tmp_path / "a.mp4") == "unreadable"


def test_the_reason_survives_pickling() -> None:
    copy = pickle.loads(pickle.dumps(BadVideo("too_small", "a.mp4: 10 x 10 pixels")))  # noqa: S301
    assert (copy.reason, str(copy)) == ("too_small", "a.mp4: 10 x 10 pixels")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    assert reason(tmp_path / "a.mp4") == "unreadable"


def test_a_folder_is_unreadable(tmp_path: Path) -> None:
    assert reason(tmp_path) == "unreadable"


@pytest.mark.parametrize("content", [b"just some text\n" * 100, b"\x89PNG\r\n\x1a\n" + b"\0" * 500, b"\0" * 4096])
def test_what_is_no_video_is_named_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    assert reason(tmp_path / "a.mp4") == "not_a_video"


@pytest.mark.parametrize(
    "content",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{video}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{video}'\n",
    ],
)
def test_a_playlist_opens_no_other_file(tmp_path: Path, plain: Path, content: str) -> None:
    (tmp_path / "a.mp4").write_text(content.format(video=plain))
    assert reason(tmp_path / "a.mp4") == "not_a_video"


def test_audio_only_has_no_video_stream(tmp_path: Path) -> None:
    assert reason(write_audio(tmp_path / "a.mp4")) == "no_video_stream"


def test_one_frame_is_too_few(tmp_path: Path) -> None:
    assert reason(write_video(tmp_path / "a.mp4", pictures(1))) == "too_few_frames"


@pytest.mark.parametrize(("width", "height"), [(10, 10), (640, 2)])
def test_tiny_pictures_are_too_small(tmp_path: Path, width: int, height: int) -> None:
    assert reason(write_video(tmp_path / "a.mp4", [np.zeros((height, width, 3), np.uint8)] * 5)) == "too_small"


def test_the_least_duration_is_enforced(plain: Path) -> None:
    assert reason(plain, min_seconds=2.0) == "too_short"


def test_an_index_without_data_is_an_incomplete_file(plain: Path, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(plain.read_bytes()[:3000])
    assert reason(tmp_path / "a.mp4") == "incomplete_file"


def test_packets_of_noise_are_undecodable(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", pictures(10))
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    size = struct.unpack(">I", data[start - 8 : start - 4])[0] - 8
    data[start : start + size] = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8).tobytes()
    path.write_bytes(data)
    assert reason(path) == "undecodable"


def test_an_absurd_measured_rate_is_refused(tmp_path: Path) -> None:
    assert reason(write_video(tmp_path / "a.mp4", pictures(20), rate=1000)) == "bad_timestamps"


def test_a_false_size_in_the_header_is_not_believed(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", pictures(10))
    data = path.read_bytes()
    box = data.index(b"avc1", data.index(b"stsd")) + 4 + 24
    assert struct.unpack(">HH", data[box : box + 4]) == (192, 128)
    path.write_bytes(data[:box] + struct.pack(">HH", 8192, 8192) + data[box + 4 :])
    assert probe(path).coded_size == (192, 128)


def test_a_giant_picture_is_refused_before_it_is_decoded(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.video.probe.MAX_PIXELS", 192 * 128 - 1)
    assert reason(plain) == "too_large"


@pytest.mark.parametrize("name", ["with space.mp4", "été 舞蹈.mp4", "new\nline.mp4", "a:b.mp4", "http:x.mp4", "%d.mp4"])
def test_any_file_name_opens(tmp_path: Path, plain: Path, name: str) -> None:
    (tmp_path / name).write_bytes(plain.read_bytes())
    assert probe(tmp_path / name).frames == 40


def test_a_relative_name_that_looks_like_a_protocol_opens(
    tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("concat:x.mp4").write_bytes(plain.read_bytes())
    assert probe("concat:x.mp4").frames == 40


def test_real_videos_are_described(shared_media: Path) -> None:
    info = probe(shared_media / "musepose_dance.mp4")
    assert (info.width, info.height, info.fps, info.frames, info.has_audio) == (1080, 1920, 24, 288, True)
