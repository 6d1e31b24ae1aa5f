"""The same bytes from Ray as inline, whatever the order of jobs and the number of actors; and after kills."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.engine.atomic import file_digest
from pipelines.engine.ledger import Ledger
from tests.animate.conftest import SMALL
from tests.job.test_crash import kill_tree

pytestmark = pytest.mark.slow
JOBS = [{"name": "a"}, {"name": "b", "reference": "other.png"}, {"name": "c", "seed": 3}, {"name": "d", "seconds": 0.5}]


def command(jobs: Path, out: Path, executor: str, *more: str) -> list[str]:
    base = [
        sys.executable,
        "-m",
        "pipelines.cli",
        "animate",
        "--jobs",
        str(jobs),
        "--out",
        str(out),
        "--profile",
        "lite",
    ]
    return [*base, "--executor", executor, "--set", "body.iterations=20", *more]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def write_jobs(inputs: Path, name: str, jobs: list[dict]) -> Path:
    path = inputs / name
    whole = [{"reference": "reference.png", "driving": "driver.mp4", **SMALL, "compare": True, **job} for job in jobs]
    path.write_text("\n".join(json.dumps(job) for job in whole))
    return path


def videos(out: Path) -> dict[str, str]:
    return {path.name: file_digest(path) for path in sorted(out.glob("*.mp4"))}


@pytest.fixture(scope="module")
def undisturbed(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    jobs = write_jobs(inputs, "jobs.jsonl", JOBS)
    done = subprocess.run(command(jobs, out, "inline"), env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    assert len(videos(out)) == 2 * len(JOBS)
    return out


def test_ray_with_two_actors_of_each_kind_and_another_order_gives_the_same_bytes(
    inputs: Path, undisturbed: Path, tmp_path: Path
):
    jobs = write_jobs(inputs, "backwards.jsonl", JOBS[::-1])
    more = [f"pools.{pool}={{workers: 2, cpus: 0.1}}" for pool in ("take", "animate", "finish")]
    more += ["pools.perceive.workers=2", "pools.perceive.cpus=0.1", "pools.body.workers=2", "pools.body.cpus=0.1"]
    options = [part for setting in more for part in ("--set", setting)]
    done = subprocess.run(command(jobs, tmp_path, "ray", *options), env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    assert videos(tmp_path) == videos(undisturbed)
    ledger = Ledger(tmp_path / "work")
    assert all(record.attempt == 1 for stage in ("driver", "body", "animate") for record in ledger.records(stage))
    assert len(list(ledger.records("body"))) == 4  # two references, two spans


def test_killed_again_and_again_and_resumed_the_bytes_are_those_of_an_undisturbed_run(
    inputs: Path, undisturbed: Path, tmp_path: Path
):
    jobs = write_jobs(inputs, "jobs.jsonl", JOBS)
    commits, whole = tmp_path / "work" / "commits", undisturbed / "work" / "commits"
    moments = random.Random(3)
    # Moments in units done, not in seconds: a slow machine is killed in the same places.
    for done in sorted(moments.sample(range(1, len(list(whole.rglob("*.json")))), 3)):
        process = subprocess.Popen(
            command(jobs, tmp_path, "inline"), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            while process.poll() is None and len(list(commits.rglob("*.json"))) < done:
                time.sleep(0.02)
            time.sleep(moments.uniform(0, 1))
        finally:
            kill_tree(process)
    last = subprocess.run(command(jobs, tmp_path, "inline"), env=environment(), capture_output=True, text=True)
    assert last.returncode == 0, last.stderr[-3000:] + last.stdout[-3000:]
    assert videos(tmp_path) == videos(undisturbed)
    assert {path.name for path in commits.rglob("*.json")} == {path.name for path in whole.rglob("*.json")}
    folders = list((tmp_path / "work" / "units").glob("*/*/*"))
    assert len(folders) == len(list(commits.rglob("*.json"))), "a killed attempt left its files"
