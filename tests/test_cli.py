"""The command line: help that suffices, errors in one line, a doctor that tells."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipelines.cli import main


def test_help_names_the_exit_codes():
    told = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "shards", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert "3 the disk is full" in " ".join(told.split())


def test_an_unknown_setting_is_one_line_that_names_the_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main(["shards", str(tmp_path), "--out", str(tmp_path / "out"), "--set", "ingest.seconds=3"]) == 1
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert "ingest: there is no setting 'seconds' (did you mean 'min_seconds'?); there are min_seconds" in told[0]


def test_one_setting_of_a_pool_leaves_the_others_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture):
    (tmp_path / "a.mp4").touch()
    told = ["--out", str(tmp_path / "out"), "--executor", "inline", "--set", "pools.ingest.workers=2"]
    assert main(["shards", str(tmp_path), *told]) == 0
    assert yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())["pools"]["ingest"]["workers"] == 2


def test_an_output_folder_that_cannot_be_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture):
    (tmp_path / "a.mp4").touch()
    assert main(["shards", str(tmp_path), "--out", str(tmp_path / "a.mp4"), "--executor", "inline"]) == 1
    assert "cannot write to the output folder" in capsys.readouterr().err


def test_bounds_of_settings_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main(["shards", str(tmp_path), "--out", str(tmp_path / "out"), "--set", "ingest.max_seconds=3"]) == 1
    assert "max_seconds must be at least twice min_seconds" in capsys.readouterr().err


def test_the_full_profile_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main(["shards", str(tmp_path), "--out", str(tmp_path / "out"), "--profile", "full"]) == 1
    assert "keypoints: dw-ll_ucoco_384.onnx was not found" in capsys.readouterr().err


def test_the_doctor_finds_the_lite_profile_fit_and_tells_licences(capsys: pytest.CaptureFixture):
    assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    assert "The profile `lite` can run." in told
    assert "body: not found: SMPLX_NEUTRAL.npz" in told


def test_a_licensed_body_is_found_and_named_with_its_licence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    (tmp_path / "SMPLX_NEUTRAL.npz").write_bytes(b"")
    monkeypatch.setenv("VIVIDPOSE_WEIGHTS", str(tmp_path))
    assert main(["doctor"]) == 0
    assert "fit to the key points, your SMPL-X body" in capsys.readouterr().out


def test_a_body_file_that_is_none_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    (tmp_path / "SMPLX_NEUTRAL.npz").write_bytes(b"no body")
    monkeypatch.setenv("VIVIDPOSE_WEIGHTS", str(tmp_path))
    assert main(["shards", str(tmp_path), "--out", str(tmp_path / "out"), "--executor", "inline"]) == 1
    assert "SMPLX_NEUTRAL.npz" in capsys.readouterr().err
