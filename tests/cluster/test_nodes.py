"""The main job on a cluster of two nodes on this machine: across both, one killed, one added, the driver killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.job.test_crash import kill_tree
from tests.video.moving_pictures import scene, write_video

# Read when ray is imported. A driver that asks with a token where the nodes know of none is taken for dead.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow
VIDEOS = 8
PATIENCE = 900


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(VIDEOS):
        write_video(folder / f"{number}.mp4", (scene(number, n, 320, 320) for n in range(54)), rate=25)
    return folder


class Nodes:
    """A Ray cluster in processes of this machine, one CPU a node, and a folder in which each node tells what it did."""

    def __init__(self, told: Path) -> None:
        from ray.cluster_utils import Cluster

        self.told = told
        told.mkdir()
        # The workers get the environment of their node.
        os.environ.update(STUB_LOG=str(told), STUB_SECONDS="0.6", OMP_NUM_THREADS="1")
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        self.added = [self.add()]

    def add(self):
        return self.cluster.add_node(num_cpus=1)

    def close(self) -> None:
        self.cluster.shutdown()
        for name in ("STUB_LOG", "STUB_SECONDS"):
            os.environ.pop(name, None)

    def work(self) -> Counter[str]:
        """How many units each node did, by its id."""
        return Counter({path.name: len(path.read_text().splitlines()) for path in self.told.iterdir()})


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    cluster = Nodes(tmp_path / "told")
    yield cluster
    cluster.close()


def start(videos: Path, out: Path, address: str | None, *more: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if address:
        environment["RAY_ADDRESS"] = address
    executor = "ray" if address else "inline"
    command = [sys.executable, "-m", "tests.cluster.stub_job", str(videos), "--out", str(out), "--executor", executor]
    return subprocess.Popen([*command, *more], env=environment, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> None:
    _, told = process.communicate(timeout=1500)
    assert process.returncode == 0, told[-4000:]


def shards(out: Path) -> dict[str, str]:
    return {row["name"]: row["sha256"] for row in json.loads((out / "dataset.json").read_text())["shards"]}


@pytest.fixture(scope="module")
def expected(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("expected")
    finish(start(videos, out, None))
    return shards(out)


def wait_for(what: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE
    while not what():
        assert process.poll() is None, f"the run ended before: {process.communicate()[1][-2000:]}"
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.2)


def done(out: Path, stage: str) -> int:
    return len(list((out / "work" / "commits" / stage).glob("??/*.json")))


def test_the_job_runs_across_both_nodes(videos: Path, expected: dict[str, str], nodes: Nodes, tmp_path: Path):
    finish(start(videos, tmp_path / "out", nodes.cluster.address))
    assert shards(tmp_path / "out") == expected
    assert len(nodes.work()) == 2


def test_a_node_killed_in_the_middle_changes_nothing(
    videos: Path, expected: dict[str, str], nodes: Nodes, tmp_path: Path
):
    out = tmp_path / "out"
    process = start(videos, out, nodes.cluster.address)
    wait_for(lambda: done(out, "keypoints") >= 3 and len(nodes.work()) == 2, process)
    nodes.cluster.remove_node(nodes.added[0], allow_graceful=False)
    finish(process)
    assert shards(out) == expected


def test_a_node_added_in_the_middle_gets_work(videos: Path, expected: dict[str, str], nodes: Nodes, tmp_path: Path):
    out = tmp_path / "out"
    process = start(videos, out, nodes.cluster.address)
    wait_for(lambda: done(out, "keypoints") >= 1, process)
    before = {node["NodeID"] for node in _nodes(nodes)}
    nodes.add()
    finish(process)
    after = {node["NodeID"] for node in _nodes(nodes)}
    [new] = after - before
    assert shards(out) == expected
    assert nodes.work()[new] > 0


def _nodes(nodes: Nodes) -> list[dict]:
    ray.init(address=nodes.cluster.address, logging_level="ERROR", ignore_reinit_error=True)
    try:
        return [node for node in ray.nodes() if node["Alive"]]
    finally:
        ray.shutdown()


def test_a_driver_that_was_killed_continues_when_started_again(
    videos: Path, expected: dict[str, str], nodes: Nodes, tmp_path: Path
):
    out = tmp_path / "out"
    process = start(videos, out, nodes.cluster.address)
    wait_for(lambda: done(out, "keypoints") >= 3, process)
    kill_tree(process)
    before = done(out, "keypoints")
    assert before < VIDEOS
    finish(start(videos, out, nodes.cluster.address))
    assert shards(out) == expected
    records = [json.loads(path.read_bytes()) for path in (out / "work/commits/keypoints").glob("??/*.json")]
    assert len({record["run"] for record in records}) == 2
