from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.engine.setup_error import SetupError
from pipelines.groundtruth.make import make_groundtruth, planned_takes
from pipelines.groundtruth.settings import GroundTruthSettings
from pipelines.groundtruth.truth import read_identities, read_truth, takes_of
from pipelines.ingest.provenance import read_provenance
from pipelines.ingest.sources import Source
from pipelines.shard_format import decode_body, unpack_arrays
from pipelines.video.reader import ClipReader

SMALL = GroundTruthSettings(seed=3, train_people=2, test_people=1, clips_per_person=1, frames=4, size=64)


def contents(out: Path) -> dict[str, str]:
    """sha256 of every file but the lock."""
    files = [path for path in out.rglob("*") if path.is_file() and path.name != "lock"]
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("truth") / "out"
    make_groundtruth(folder, SMALL)
    return folder


@pytest.fixture(scope="module")
def truth(out: Path) -> dict[str, Any]:
    return read_truth(out)


def test_two_processes_write_the_same_bytes_as_one(out: Path, tmp_path: Path) -> None:
    make_groundtruth(tmp_path / "two", SMALL, workers=2)
    assert contents(tmp_path / "two") == contents(out)


def test_every_clip_has_its_video_regions_and_body(out: Path, truth: dict[str, Any]) -> None:
    assert len(truth["clips"]) == 3
    for clip in truth["clips"]:
        assert hashlib.sha256((out / clip["video"]).read_bytes()).hexdigest() == clip["sha256"]
        regions = unpack_arrays((out / clip["regions"]).read_bytes())["regions"]
        assert regions.shape == (4, 64, 64)
        assert regions.dtype == np.uint8
        assert len(decode_body((out / clip["body"]).read_bytes())) == 4
        with ClipReader(out / clip["video"]) as reader:
            assert len(reader) == 4


def test_the_splits_share_no_person_and_no_motion(truth: dict[str, Any]) -> None:
    for what in ("person", "motion"):
        train, test = ({clip[what] for clip in truth["clips"] if clip["split"] == s} for s in ("train", "test"))
        assert train
        assert test
        assert not train & test


def test_everybody_has_a_code(out: Path, truth: dict[str, Any]) -> None:
    codes = read_identities(out)
    assert sorted(codes) == sorted(person["person"] for person in truth["people"])
    assert {code.shape for code in codes.values()} == {(512,)}


def test_the_truth_says_all_that_was_drawn(truth: dict[str, Any]) -> None:
    assert takes_of(truth) == planned_takes(SMALL)


def test_the_side_cars_are_those_that_the_data_engine_reads(out: Path, truth: dict[str, Any]) -> None:
    clip = truth["clips"][0]
    video = out / clip["video"]
    said = read_provenance(Source(str(video), str(video.parent)))
    assert (said.licence, said.uploader) == ("CC0-1.0", clip["person"])
    assert not said.warnings


def test_what_is_lost_is_made_again_and_nothing_else(out: Path, tmp_path: Path) -> None:
    folder = tmp_path / "again"
    make_groundtruth(folder, SMALL)
    first, *others = [take.video() for take in planned_takes(SMALL)]
    before = {video: (folder / video).stat().st_mtime_ns for video in others}
    (folder / first).unlink()
    make_groundtruth(folder, SMALL)
    assert contents(folder) == contents(out)
    assert {video: (folder / video).stat().st_mtime_ns for video in others} == before


def test_a_folder_may_grow(out: Path, tmp_path: Path) -> None:
    folder = tmp_path / "grown"
    make_groundtruth(folder, replace(SMALL, train_people=1))
    make_groundtruth(folder, SMALL)
    assert contents(folder) == contents(out)


def test_a_folder_does_not_shrink(out: Path) -> None:
    with pytest.raises(SetupError, match="1 clips more than were asked for"):
        make_groundtruth(out, replace(SMALL, train_people=1))


def test_a_folder_of_other_settings_is_refused_by_name(out: Path) -> None:
    with pytest.raises(SetupError, match=r"seed 3 \(asked for: 4\)"):
        make_groundtruth(out, replace(SMALL, seed=4))


@pytest.mark.parametrize(
    ("setting", "value"),
    [("size", 63), ("size", 65), ("size", 520), ("frames", 1), ("clips_per_person", 0), ("train_people", -1),
     ("seed", -1)],
)  # fmt: skip
def test_settings_that_cannot_be_used_are_refused(setting: str, value: int) -> None:
    with pytest.raises(SetupError, match=f"--{setting.replace('_', '-')}: expected .* got {value}"):
        replace(SMALL, **{setting: value})


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth/settings.json").write_text("{")
    with pytest.raises(SetupError, match=r"settings\.json is damaged .* remove it"):
        make_groundtruth(tmp_path, SMALL)


@pytest.mark.slow
def test_killed_and_started_again_it_writes_the_same(out: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    command = [sys.executable, "-m", "pipelines.cli", "groundtruth", "make", str(folder), "--seed", "3",
               "--train-people", "2", "--test-people", "1", "--clips-per-person", "1", "--frames", "4",
               "--size", "64"]  # fmt: skip
    run = subprocess.Popen(command, start_new_session=True)
    end = time.monotonic() + 240
    while not list(folder.glob("truth/records/*.json")):
        assert time.monotonic() < end, f"no record after 240 s: {sorted(folder.rglob('*'))}"
        assert run.poll() is None or list(folder.glob("truth/records/*.json")), f"it ended with {run.returncode}"
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    unfinished = folder / "videos/train/.x.mp4.tmp.0123456789ab"
    unfinished.write_bytes(b"half a video")
    subprocess.run(command, check=True, timeout=240)
    assert contents(folder) == contents(out)
    assert json.loads((folder / "truth/clips.json").read_text())["hash"]
