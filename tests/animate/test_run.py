"""Whole runs of small jobs: what comes out, and that nothing is done twice."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from pipelines.engine.atomic import file_digest
from pipelines.engine.ledger import Ledger
from pipelines.video.reader import ClipReader
from tests.animate.conftest import FPS, FRAMES, Animate


def test_the_video_has_the_driver_s_length_and_rate_and_the_reference_s_aspect(made: Path):
    with ClipReader(made / "first.mp4") as video:
        assert (len(video), video.fps) == (FRAMES, FPS)
        assert video.size == (32, 42)  # 360x480 in a frame of 32x48, bars removed


def test_the_file_says_that_it_is_generated_by_what_and_as_which_job(made: Path):
    recipe = json.loads((made / "first.json").read_text())
    with av.open(str(made / "first.mp4")) as video:
        comment = video.metadata["comment"]
    assert comment.startswith("AI-generated")
    assert recipe["model"]["hash"] in comment
    assert recipe["job"] in comment
    manifest = json.loads((made / "first.c2pa.json").read_text())
    action = manifest["assertions"][0]["data"]["actions"][0]
    assert action["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert manifest["assertions"][1]["data"]["hash"] == file_digest(made / "first.mp4")


def test_the_png_files_are_the_frames_before_they_were_encoded(made: Path):
    files = sorted((made / "first.frames").iterdir())
    assert len(files) == FRAMES
    with ClipReader(made / "first.mp4") as video:
        first = np.asarray(Image.open(files[0]), np.int16)
        assert np.abs(video.frames([0])[0].astype(np.int16) - first).mean() < 6


def test_the_comparison_shows_five_pictures_for_every_frame(made: Path):
    with ClipReader(made / "first.compare.mp4") as video:
        assert len(video) == FRAMES
        assert video.size == (5 * 32, 42)


def test_what_was_done_is_not_done_again(made: Path, animate: Animate):
    before = file_digest(made / "first.mp4")
    records = sorted((made / "work" / "commits").rglob("*.json"))
    times = [path.stat().st_mtime_ns for path in records]
    again = animate(made, {"name": "first", "compare": True, "frames": True, "poses": True})
    assert again.seconds == {}
    assert [path.stat().st_mtime_ns for path in records] == times
    assert sorted((made / "work" / "commits").rglob("*.json")) == records
    assert file_digest(made / "first.mp4") == before


def test_a_driver_is_estimated_once_for_all_its_jobs(made: Path, animate: Animate, tmp_path: Path):
    jobs = [{"name": "a"}, {"name": "b", "reference": "other.png"}, {"name": "c", "seed": 5}]
    summary = animate(tmp_path, *jobs)
    assert [ending.status for ending in summary.endings] == ["done"] * 3
    ledger = Ledger(tmp_path / "work")
    counts = {stage: len(list(ledger.records(stage))) for stage in ("picture", "driver", "body", "animate")}
    assert counts == {"picture": 2, "driver": 1, "body": 3, "animate": 3}
    # The same job as in the other folder, among others and with another name, has the same pixels.
    assert frames_of(tmp_path / "a.mp4") == frames_of(made / "first.mp4")
    assert frames_of(tmp_path / "c.mp4") != frames_of(tmp_path / "a.mp4")


def test_saved_poses_drive_a_job_with_the_same_result_and_no_estimator(made: Path, animate: Animate, tmp_path: Path):
    summary = animate(tmp_path, {"name": "by_poses", "driving": str(made / "first.poses.npz"), "compare": True})
    assert [(ending.status, ending.message) for ending in summary.endings] == [("done", None)]
    assert len(list(Ledger(tmp_path / "work").records("keypoints"))) == 1  # the reference's
    assert frames_of(tmp_path / "by_poses.mp4") == frames_of(made / "first.mp4")


def test_a_lower_rate_and_a_span_take_the_frames_they_name(animate: Animate, tmp_path: Path):
    animate(tmp_path, {"name": "span", "start": 0.2, "seconds": 0.6, "fps": 5})
    with ClipReader(tmp_path / "span.mp4") as video:
        assert (len(video), video.fps) == (3, 5)


def test_a_file_that_was_removed_from_the_output_comes_back_without_work(made: Path, animate: Animate):
    before = file_digest(made / "first.mp4")
    (made / "first.mp4").unlink()
    assert animate(made, {"name": "first", "compare": True, "frames": True, "poses": True}).seconds == {}
    assert file_digest(made / "first.mp4") == before


def test_a_preview_makes_a_sheet_and_loads_no_model(animate: Animate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pipelines.animate.workers.load_animator", _not_called)
    summary = animate(tmp_path, {"name": "look"}, preview=True)
    assert summary.endings[0].status == "done"
    sheet = Image.open(tmp_path / "look.preview.png")
    assert sheet.size[1] > 5 * 240
    assert not (tmp_path / "look.mp4").exists()


def _not_called(*arguments: object) -> None:
    raise AssertionError("a preview loads no model")


def frames_of(path: Path) -> bytes:
    with ClipReader(path) as reader:
        return reader.frames(range(len(reader))).tobytes()
