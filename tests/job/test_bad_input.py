"""Files that are no use: the run goes on, and each is told with its reason."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.cli import main
from pipelines.engine.ledger import Outcome
from pipelines.ingest.clips import IngestConfig
from pipelines.job import workers
from pipelines.job.ingest_source import ingest_source
from tests.video.moving_pictures import scene, write_video


def nobody(path: Path, frames: int, size: tuple[int, int] = (320, 320)) -> None:
    """A video with something to decode and nobody to be found."""
    write_video(path, (scene(1, number, *size) for number in range(frames)), rate=25)


def write_audio(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def bad_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad videos")
    nobody(folder / "nobody – 誰も.mp4", 60)
    nobody(folder / "one frame.mp4", 1)
    nobody(folder / "tiny.mp4", 60, (10, 10))
    write_audio(folder / "audio only.mp4")
    whole = (folder / "nobody – 誰も.mp4").read_bytes()
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    nobody(folder / "whole.mkv", 60)
    (folder / "header lost.mkv").write_bytes((folder / "whole.mkv").read_bytes()[5000:])
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("this is no video\n" * 50)
    (folder / "a link.mp4").symlink_to(folder / "absent.mp4")
    return folder


def run(videos: Path, out: Path, *more: str) -> int:
    return main(["shards", str(videos), "--out", str(out), "--executor", "inline", "--profile", "lite", *more])


def endings(out: Path) -> dict[str, tuple[str, str | None]]:
    """(state, reason) of each file in the manifest."""
    rows = pq.read_table(out / "manifest.parquet").to_pylist()
    return {Path(row["source_path"]).name: (row["state"], row["reason"]) for row in rows}


@pytest.fixture(scope="module")
def run_over_bad_videos(bad_videos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    out = tmp_path_factory.mktemp("out")
    return run(bad_videos, out), out


def test_bad_videos_do_not_make_the_run_fail(run_over_bad_videos: tuple[int, Path]):
    assert run_over_bad_videos[0] == 0


@pytest.mark.parametrize(
    ("name", "state", "reason"),
    [
        ("nobody – 誰も.mp4", "dropped", "nobody"),
        ("one frame.mp4", "quarantined", "too_few_frames"),
        ("tiny.mp4", "quarantined", "too_small"),
        ("audio only.mp4", "quarantined", "no_video_stream"),
        ("header lost.mkv", "quarantined", "not_a_video"),
        ("empty.mp4", "quarantined", "empty_file"),
        ("text.mp4", "quarantined", "not_a_video"),
        ("a link.mp4", "quarantined", "broken_link"),
    ],
)
def test_each_bad_video_is_in_the_manifest_with_its_reason(
    run_over_bad_videos: tuple[int, Path], name: str, state: str, reason: str
):
    assert endings(run_over_bad_videos[1])[name] == (state, reason)


def test_every_source_is_in_the_manifest(bad_videos: Path, run_over_bad_videos: tuple[int, Path]):
    assert set(endings(run_over_bad_videos[1])) == {path.name for path in bad_videos.iterdir()}


def test_strict_tells_bad_input_by_its_exit_code(bad_videos: Path, run_over_bad_videos: tuple[int, Path]):
    assert run(bad_videos, run_over_bad_videos[1], "--strict") == 2


def test_a_truncated_video_is_noted_by_name(run_over_bad_videos, capsys: pytest.CaptureFixture, bad_videos: Path):
    run(bad_videos, run_over_bad_videos[1])
    told = capsys.readouterr().out
    assert "truncated.mp4" in told


def test_a_folder_without_videos_is_an_error_that_says_so(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert run(tmp_path, tmp_path / "out") == 1
    assert "no video files" in capsys.readouterr().err


def test_a_source_that_does_not_exist_is_an_error_that_names_it(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert run(tmp_path / "absent", tmp_path / "out") == 1
    assert "absent" in capsys.readouterr().err


def test_an_output_folder_inside_the_source_folder_is_no_source(tmp_path: Path):
    nobody(tmp_path / "a.mp4", 60)
    for _ in range(2):
        assert run(tmp_path, tmp_path / "data") == 0
    assert set(endings(tmp_path / "data")) == {"a.mp4"}


def crashing(location: str, name: str, folder: Path, config: IngestConfig) -> Outcome:
    """Stands in for a decoder that crashes on one file."""
    if name == "b.mp4":
        os.kill(os.getpid(), signal.SIGSEGV)
    return ingest_source(location, name, folder, config)


def test_a_decoder_that_crashes_its_process_quarantines_its_video_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    videos = tmp_path / "videos"
    videos.mkdir()
    for frames, name in ((60, "a.mp4"), (61, "b.mp4"), (62, "c.mp4")):
        nobody(videos / name, frames)
    monkeypatch.setattr(workers, "ingest_source", crashing)
    assert run(videos, tmp_path / "out") == 0
    expected = {"a.mp4": ("dropped", "nobody"), "b.mp4": ("quarantined", "crashed"), "c.mp4": ("dropped", "nobody")}
    assert endings(tmp_path / "out") == expected


def test_a_quarantined_video_is_tried_again_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    videos = tmp_path / "videos"
    videos.mkdir()
    nobody(videos / "b.mp4", 60)
    with monkeypatch.context() as patch:
        patch.setattr(workers, "ingest_source", crashing)
        run(videos, tmp_path / "out")
    run(videos, tmp_path / "out")
    assert endings(tmp_path / "out")["b.mp4"] == ("quarantined", "crashed")
    run(videos, tmp_path / "out", "--retry-quarantined")
    assert endings(tmp_path / "out")["b.mp4"] == ("dropped", "nobody")


def failing(location: str, name: str, folder: Path, config: IngestConfig) -> Outcome:
    """Stands in for a bug of ours that one file brings out."""
    raise ZeroDivisionError("a bug")


def test_a_bug_is_told_with_its_traceback_and_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    nobody(tmp_path / "a.mp4", 60)
    monkeypatch.setattr(workers, "ingest_source", failing)
    assert run(tmp_path / "a.mp4", tmp_path / "out") == 1
    assert "ZeroDivisionError: a bug" in capsys.readouterr().out


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 12 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_stops_the_run_and_the_next_run_continues(
    tmp_path: Path, small_disk: Path, capsys: pytest.CaptureFixture
):
    videos = tmp_path / "videos"
    videos.mkdir()
    for frames in range(60, 64):
        nobody(videos / f"{frames}.mp4", frames)
    ballast = small_disk / "ballast"
    free = os.statvfs(small_disk)
    ballast.write_bytes(b"x" * (free.f_bavail * free.f_frsize - 300_000))
    assert run(videos, small_disk / "out") == 3
    assert "free some room" in capsys.readouterr().err
    ballast.unlink()
    assert run(videos, small_disk / "out") == 0
    assert set(endings(small_disk / "out").values()) == {("dropped", "nobody")}


def test_an_output_folder_in_use_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture):
    nobody(tmp_path / "a.mp4", 60)
    work = tmp_path / "out" / "work"
    work.mkdir(parents=True)
    with (work / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run(tmp_path / "a.mp4", tmp_path / "out") == 1
    assert "another run" in capsys.readouterr().err
