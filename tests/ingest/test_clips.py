from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.ingest.clips import IngestConfig, IngestResult, ingest
from pipelines.video.decode import Decoder
from pipelines.video.probe import BadVideo, probe
from pipelines.video.reader import ClipReader
from tests.video.moving_pictures import quarters, scene, write_video

SMALL = IngestConfig(min_seconds=1, max_seconds=4, min_side=64)
FPS = 10


def film(path: Path, shots: list[tuple[int, int]], **settings: object) -> Path:
    """A video of scenes (seed, number of frames) at 10 frames a second; seed 0 is black."""
    pictures: list[NDArray[np.uint8]] = []
    for seed, length in shots:
        black = np.zeros((256, 320, 3), np.uint8)
        pictures += [black if seed == 0 else scene(seed, i) for i in range(length)]
    return write_video(path, pictures, rate=FPS, options={"preset": "veryfast"}, **settings)  # type: ignore[arg-type]


def spans(result: IngestResult) -> list[tuple[int, int]]:
    return [(clip.start_frame, clip.end_frame) for clip in result.clips]


def assert_covers(result: IngestResult) -> None:
    dropped = [(span.start_frame, span.end_frame) for span in result.dropped]
    ends = sorted(spans(result) + dropped)
    assert ends[0][0] == 0
    assert ends[-1][1] == result.frames
    assert all(a[1] == b[0] for a, b in pairwise(ends))


def test_a_video_is_cut_at_its_shots(tmp_path: Path) -> None:
    result = ingest(film(tmp_path / "a.mp4", [(1, 25), (2, 14), (3, 31)]), tmp_path / "out", SMALL)
    assert spans(result) == [(0, 25), (25, 39), (39, 70)]
    assert result.dropped == ()
    assert [clip.start_time for clip in result.clips] == [0.0, 2.5, 3.9]


def test_clips_show_the_frames_of_their_span(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4", [(1, 25), (2, 60)])
    result = ingest(source, tmp_path / "out", SMALL)
    planes = [picture.planes for picture in Decoder(source)]
    for clip in result.clips:
        written = [picture.planes for picture in Decoder(tmp_path / "out" / clip.file)]
        assert len(written) == clip.frames
        for before, after in zip(planes[clip.start_frame : clip.end_frame], written, strict=True):
            assert np.abs(before.astype(int) - after).mean() < 3


def test_a_long_shot_becomes_several_clips_within_bounds(tmp_path: Path) -> None:
    result = ingest(film(tmp_path / "a.mp4", [(1, 105)]), tmp_path / "out", SMALL)
    assert [clip.frames for clip in result.clips] == [30, 30, 30, 15]
    assert_covers(result)


def test_a_short_shot_is_recorded_as_dropped(tmp_path: Path) -> None:
    result = ingest(film(tmp_path / "a.mp4", [(1, 25), (2, 6), (3, 20)]), tmp_path / "out", SMALL)
    assert [(s.start_frame, s.end_frame, s.reason) for s in result.dropped] == [(25, 31, "shot_too_short")]
    assert_covers(result)


def test_black_ends_a_shot_and_is_left_out(tmp_path: Path) -> None:
    result = ingest(film(tmp_path / "a.mp4", [(0, 4), (1, 20), (0, 15), (1, 20), (0, 3)]), tmp_path / "out", SMALL)
    assert spans(result) == [(4, 24), (39, 59)]
    assert {span.reason for span in result.dropped} == {"black"}
    assert_covers(result)


def test_a_fade_through_black_ends_a_shot(tmp_path: Path) -> None:
    levels = [1.0] * 20 + [1 - i / 10 for i in range(11)] + [0.0] * 3 + [i / 10 for i in range(1, 11)] + [1.0] * 20
    pictures = [(scene(1 if i < 33 else 2, i) * level).astype(np.uint8) for i, level in enumerate(levels)]
    result = ingest(write_video(tmp_path / "a.mp4", pictures, rate=FPS), tmp_path / "out", SMALL)
    assert "black" in {span.reason for span in result.dropped}
    assert not any(clip.start_frame < 32 < clip.end_frame for clip in result.clips)


def test_a_video_without_a_long_shot_has_no_clips_and_says_why(tmp_path: Path) -> None:
    result = ingest(film(tmp_path / "a.mp4", [(i, 7) for i in range(1, 5)]), tmp_path / "out", SMALL)
    assert result.clips == ()
    assert {span.reason for span in result.dropped} == {"shot_too_short"}
    assert_covers(result)


def test_lost_frames_end_a_clip(tmp_path: Path) -> None:
    stamps = [i if i < 30 else i + 100 for i in range(60)]
    source = film(tmp_path / "a.mp4", [(1, 60)], stamps=stamps, clock=Fraction(1, FPS))
    result = ingest(source, tmp_path / "out", SMALL)
    assert spans(result) == [(0, 30), (30, 60)]
    assert result.clips[1].start_time == pytest.approx(13.0)
    assert "holes:1" in result.notes


def test_records_tell_the_truth_about_the_files(tmp_path: Path) -> None:
    result = ingest(film(tmp_path / "a.mp4", [(1, 25), (2, 14)]), tmp_path / "out", SMALL)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [clip.file for clip in result.clips]
    for clip in result.clips:
        with ClipReader(tmp_path / "out" / clip.file) as reader:
            assert (len(reader), reader.fps, reader.size) == (clip.frames, clip.fps, clip.size)
        assert (tmp_path / "out" / clip.file).stat().st_size == clip.bytes


def test_a_second_run_gives_the_same_bytes(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4", [(1, 25), (2, 50)])
    first, second = (ingest(source, tmp_path / name, SMALL) for name in ("x", "y"))
    assert first == second
    for clip in first.clips:
        assert (tmp_path / "x" / clip.file).read_bytes() == (tmp_path / "y" / clip.file).read_bytes()


def test_a_rotated_large_source_is_upright_at_the_working_size(tmp_path: Path) -> None:
    pictures = [quarters(i, 640, 320) for i in range(20)]
    source = write_video(tmp_path / "a.mp4", pictures, rate=FPS, rotation=(-90, False))
    result = ingest(source, tmp_path / "out", IngestConfig(min_seconds=1, max_seconds=4, min_side=64, short_side=200))
    assert result.clips[0].size == (200, 400)
    frame = ClipReader(tmp_path / "out" / "00000.mp4").frames([10])[0]
    assert frame[100, 150].argmax() == 0  # red, the upper left of the stored picture, is at the upper right


def test_a_small_source_is_not_enlarged_and_a_tiny_one_refused(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4", [(1, 25)])
    assert ingest(source, tmp_path / "out", SMALL).clips[0].size == (320, 256)
    with pytest.raises(BadVideo) as caught:
        ingest(source, tmp_path / "none", IngestConfig(min_seconds=1, max_seconds=4, min_side=300))
    assert caught.value.reason == "too_small"


def test_a_short_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadVideo) as caught:
        ingest(film(tmp_path / "a.mp4", [(1, 9)]), tmp_path / "out", SMALL)
    assert caught.value.reason == "too_short"


def test_an_error_in_the_middle_leaves_no_half_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = film(tmp_path / "a.mp4", [(1, 60)])
    real = Decoder._planes

    def fail(self: Decoder, frame: object) -> NDArray[np.uint8]:
        if self.emitted == 25:
            raise OSError("disk gone")
        return real(self, frame)  # type: ignore[arg-type]

    monkeypatch.setattr(Decoder, "_planes", fail)
    with pytest.raises(OSError, match="disk gone"):
        ingest(source, tmp_path / "out", SMALL)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("bounds", [{"min_seconds": 0}, {"min_seconds": 5, "max_seconds": 9}, {"min_side": 1000}])
def test_impossible_configurations_are_refused(bounds: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"at least twice|min_side"):
        IngestConfig(**bounds)  # type: ignore[arg-type]


def test_a_real_dance_is_one_clip(shared_media: Path, tmp_path: Path) -> None:
    result = ingest(shared_media / "dreampose_demo.mov", tmp_path, IngestConfig())
    assert spans(result) == [(0, 71)]
    assert result.clips[0].size == (512, 640)


PEAK_MEMORY = """
import sys
from pathlib import Path
from pipelines.ingest.clips import ingest
result = ingest(sys.argv[1], sys.argv[2])
status = Path("/proc/self/status").read_text()
print(result.frames, sum(c.frames for c in result.clips), int(status.partition("VmHWM:")[2].split()[0]) // 1024)
"""


def looped(source: Path, path: Path, seconds: float) -> Path:
    """The video packets of `source` again and again, without encoding them anew."""
    import av

    info = probe(source)
    with av.open(str(source)) as template, av.open(str(path), "w") as output:
        stream = template.streams.video[0]
        copy = output.add_stream_from_template(stream)
        packets = [packet for packet in template.demux(stream) if packet.size]
        assert stream.time_base is not None
        period = round(info.packets / info.fps / stream.time_base)
        for turn in range(round(seconds / info.duration)):
            for packet in packets:
                again = av.Packet(bytes(packet))
                again.pts, again.dts = packet.pts + turn * period, packet.dts + turn * period  # type: ignore[operator]
                again.is_keyframe, again.time_base, again.stream = packet.is_keyframe, stream.time_base, copy
                output.mux(again)
    return path


@pytest.mark.slow
def test_full_hd_of_any_length_fits_into_half_a_gigabyte(shared_media: Path, tmp_path: Path) -> None:
    source = looped(shared_media / "musepose_dance.mp4", tmp_path / "long.mp4", 120)
    command = [sys.executable, "-c", PEAK_MEMORY, str(source), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    frames, written, megabytes = map(int, done.stdout.split())
    assert frames == written == 2880
    assert megabytes < 500
