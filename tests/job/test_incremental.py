"""A second run does what is new or touched by a change, and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipelines.annotate import render
from pipelines.engine.ledger import Ledger
from pipelines.job.run import run_shards
from pipelines.job.settings import ShardsSettings
from pipelines.job.summary import Summary
from pipelines.settings import build


def run(videos: Path, out: Path, **settings: object) -> Summary:
    return run_shards(str(videos), out, build(ShardsSettings, {"executor": "inline", "profile": "lite", **settings}))


def worked(summary: Summary) -> dict[str, int]:
    """How many units of each stage this run did."""
    return {name: speed.units for name, speed in summary.speeds.items() if speed.units}


def shards(out: Path) -> dict[str, str]:
    return {row["name"]: row["sha256"] for row in json.loads((out / "dataset.json").read_text())["shards"]}


@pytest.fixture(scope="module")
def first_video(demo_clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("first")
    for name in ("wave.mp4", "sources.csv"):
        shutil.copy(demo_clips / name, folder)
    return folder


@pytest.fixture(scope="module")
def finished(first_video: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished")
    run(first_video, out)
    return out


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    """A copy of a finished output folder, to run on."""
    return Path(shutil.copytree(finished, tmp_path / "out"))


def test_a_run_without_news_does_nothing(first_video: Path, out: Path):
    before = shards(out)
    assert worked(run(first_video, out)) == {}
    assert shards(out) == before


def test_a_run_without_news_adds_nothing_to_the_plan(first_video: Path, out: Path):
    before = sorted(out.glob("work/plan/*/*"))
    run(first_video, out)
    assert sorted(out.glob("work/plan/*/*")) == before


def test_a_run_without_news_looks_at_no_record(first_video: Path, out: Path, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "record", lambda self, stage, unit: pytest.fail(f"{stage} {unit} was looked at"))
        run(first_video, out)


def test_without_the_tables_of_the_lots_the_records_tell_the_same(first_video: Path, out: Path):
    before = shards(out), (out / "manifest.parquet").read_bytes()
    shutil.rmtree(out / "work" / "lots")
    assert worked(run(first_video, out)) == {}
    assert (shards(out), (out / "manifest.parquet").read_bytes()) == before


def test_a_memory_of_the_shards_in_an_older_form_packs_nothing_again(first_video: Path, out: Path):
    before = shards(out)
    [memory] = out.glob("work/lots/*/packed.json")
    told = json.loads(memory.read_text())
    for row in told["shards"].values():
        row[0] = "f" * 64
    memory.write_text(json.dumps(told))
    assert worked(run(first_video, out)) == {}
    assert shards(out) == before
    assert json.loads(memory.read_text()) != told


def test_an_added_video_is_the_only_one_worked_on(first_video: Path, demo_clips: Path, out: Path):
    before = shards(out)
    summary = run(demo_clips, out)
    assert set(worked(summary).values()) == {1}
    assert before.items() < shards(out).items()


def test_a_changed_threshold_redoes_the_decision_alone(first_video: Path, out: Path):
    assert worked(run(first_video, out, quality={"max_jitter": 0.9})) == {"quality": 1, "pack": 1}


def test_a_threshold_that_drops_everything_leaves_no_shard(first_video: Path, out: Path):
    summary = run(first_video, out, quality={"min_body_points": 17.5})
    assert [row["reason"] for row in summary.rows] == ["few_key_points"]
    assert (shards(out), list((out / "shards").iterdir())) == ({}, [])


def test_a_changed_stage_redoes_what_depends_on_it(first_video: Path, out: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(render, "VERSION", "another")
    assert worked(run(first_video, out)) == {"render": 1, "quality": 1, "pack": 1}


def test_a_new_licence_redoes_the_packing_alone(demo_clips: Path, out: Path, first_video: Path, tmp_path: Path):
    videos = Path(shutil.copytree(first_video, tmp_path / "videos"))
    run(videos, out)
    (videos / "sources.csv").write_text("file,licence\nwave.mp4,CC-BY-4.0\n")
    assert worked(run(videos, out)) == {"pack": 1}


def test_a_lost_shard_is_packed_again_with_the_same_bytes(first_video: Path, out: Path):
    before = shards(out)
    for name in before:
        (out / "shards" / name).unlink()
    assert worked(run(first_video, out)) == {"pack": 1}
    assert shards(out) == before


def test_a_copy_under_another_name_is_no_second_source(first_video: Path, out: Path, tmp_path: Path):
    videos = Path(shutil.copytree(first_video, tmp_path / "videos"))
    shutil.copy(videos / "wave.mp4", videos / "wave again.mp4")
    summary = run(videos, out)
    assert worked(summary).get("ingest") is None
    assert {row["reason"] for row in summary.rows if row["state"] == "dropped"} == {"duplicate"}
