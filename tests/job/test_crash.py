"""The whole job, killed again and again: the shards come out as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from pipelines.shard_index import index_name

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def command(videos: Path, out: Path, executor: str = "inline") -> list[str]:
    base = [sys.executable, "-m", "pipelines.cli", "shards", str(videos), "--out", str(out)]
    return [*base, "--profile", "lite", "--executor", executor]


def run_to_the_end(videos: Path, out: Path, executor: str = "inline") -> float:
    start = time.monotonic()
    done = subprocess.run(command(videos, out, executor), env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return time.monotonic() - start


def kill_tree(process: subprocess.Popen) -> None:
    """SIGKILL to the process and everything below it, at once."""
    try:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        family = []
    for member in family:
        try:
            member.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    process.wait()


def run_and_kill(videos: Path, out: Path, after: float, executor: str) -> None:
    process = subprocess.Popen(
        command(videos, out, executor), env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        kill_tree(process)


def shards(out: Path) -> dict[str, str]:
    dataset = json.loads((out / "dataset.json").read_text())
    return {row["name"]: row["sha256"] for row in dataset["shards"]}


def check_same(out: Path, undisturbed: Path) -> None:
    assert shards(out) == shards(undisturbed)
    ours, theirs = (pq.read_table(folder / "manifest.parquet").to_pylist() for folder in (out, undisturbed))
    assert ours == theirs
    assert [row for row in ours if row["state"] == "quarantined"] == []
    expected = {name for shard in shards(out) for name in (shard, index_name(shard))}
    assert {path.name for path in (out / "shards").iterdir()} == expected, "something lies beside the shards"


@pytest.fixture(scope="module")
def undisturbed(demo_clips: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """An output folder of a run that nothing disturbed, and the seconds it took."""
    out = tmp_path_factory.mktemp("undisturbed")
    return out, run_to_the_end(demo_clips, out)


def test_ten_kills_at_random_moments_change_nothing(demo_clips: Path, undisturbed: tuple[Path, float], tmp_path: Path):
    expected, seconds = undisturbed
    moments = random.Random(7)
    for _ in range(10):
        run_and_kill(demo_clips, tmp_path, moments.uniform(0.3, 0.5 * seconds), "inline")
    run_to_the_end(demo_clips, tmp_path)
    check_same(tmp_path, expected)


def test_ray_writes_the_same_bytes_as_inline(demo_clips: Path, undisturbed: tuple[Path, float], tmp_path: Path):
    run_to_the_end(demo_clips, tmp_path, "ray")
    check_same(tmp_path, undisturbed[0])


@pytest.mark.slow
def test_ten_kills_of_ray_change_nothing(demo_clips: Path, undisturbed: tuple[Path, float], tmp_path: Path):
    moments = random.Random(11)
    for _ in range(10):
        run_and_kill(demo_clips, tmp_path, moments.uniform(5, 60), "ray")
    run_to_the_end(demo_clips, tmp_path, "ray")
    check_same(tmp_path, undisturbed[0])
