"""Withdrawal between two real runs of `vividpose shards`."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from pipelines.annotate.choice import choose
from pipelines.annotate.face import ArcFaceStage, NoFaceStage
from pipelines.cli import main
from pipelines.demo import FILMS, make_demo_videos
from pipelines.job.settings import EstimatorSettings, ShardsSettings
from pipelines.job.stages import annotate_stages

SETTINGS = ("--executor", "inline", "--set", "ingest.min_seconds=0.8", "--set", "pack.shard_mb=1")


@pytest.mark.slow
def test_the_next_run_does_no_work_and_brings_nothing_back(tmp_path: Path, capsys: pytest.CaptureFixture):
    videos, out = tmp_path / "videos", tmp_path / "out"
    films = [replace(f, shots=(replace(f.shots[0], seconds=1.0),)) for f in FILMS if f.name in ("wave", "squat")]
    make_demo_videos(videos, films=films)
    assert main(["shards", str(videos), "--out", str(out), *SETTINGS]) == 0
    assert main(["forget", str(out), "--source", str(videos / "wave.mp4"), "--reason", "ticket"]) == 0
    before = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (out / "shards").iterdir()}
    units = sorted(path.name for path in (out / "work/units").glob("*/??/*"))
    capsys.readouterr()
    assert main(["shards", str(videos), "--out", str(out), *SETTINGS]) == 0
    assert "Work of this run" not in capsys.readouterr().out
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (out / "shards").iterdir()} == before
    assert sorted(path.name for path in (out / "work/units").glob("*/??/*")) == units
    rows = duckdb.execute(
        "select state, reason, url, source_sha256 from read_parquet(?) where source_path like '%wave.mp4'",
        [str(out / "manifest.parquet")],
    ).fetchall()
    assert rows == [("dropped", "withdrawn", "unknown", None)]


@pytest.mark.parametrize(("faces", "kind"), [(True, ArcFaceStage), (False, NoFaceStage)])
def test_identity_vectors_can_be_kept_out_though_a_recogniser_is_there(faces: bool, kind: type):
    choices = [
        replace(choice, files=(Path("detector.onnx"), Path("recogniser.onnx"))) if choice.role == "face" else choice
        for choice in choose("lite")
    ]
    settings = replace(ShardsSettings(), estimators=EstimatorSettings(faces=faces))
    assert isinstance(annotate_stages(settings, choices)["face"], kind)
