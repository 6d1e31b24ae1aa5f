"""What a real Ray serves to Prometheus during and after a run: all that the log of the run says, under the names that
the Grafana board and the page on watching use."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.video.moving_pictures import scene, write_video

# Read when ray is imported. A driver that asks with a token where the nodes know of none is taken for dead.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
pytest.importorskip("ray")
WITHOUT = "Ray's agents serve metrics with 'vividpose[cluster]' alone; make test-all installs it"
for needed in ("opencensus", "opentelemetry.exporter.prometheus", "aiohttp_cors"):
    pytest.importorskip(needed, reason=WITHOUT, exc_type=ImportError)
parser = pytest.importorskip("prometheus_client.parser", reason=WITHOUT)
# The whole run is in the first test's time: on a busy machine Ray's workers take half a minute to start.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
BOARD = ROOT / "docker" / "grafana" / "vividpose.json"
PAGE = ROOT / "docs" / "observing.md"
PATIENCE = 600
# How late Ray's workers and its agents tell, at most: twice the interval of ten seconds.
LATE = 20.0
Labels = tuple[tuple[str, str], ...]
Scrape = dict[tuple[str, Labels], float]


@dataclass
class Watched:
    """A run as a Prometheus would have seen it: (when, samples), and what its log says."""

    scrapes: list[tuple[float, Scrape]] = field(default_factory=list)
    log: list[dict] = field(default_factory=list)

    def sums(self, name: str, *by: str) -> Counter[tuple[str, ...]]:
        """`sum by (...) (name)` at the end."""
        return sums(self.scrapes[-1][1], name, *by)

    def told(self, what: str, *by: str) -> Counter[tuple[str, ...]]:
        """The same out of the log; what: the field that is added up, or "" for one a line."""
        found: Counter[tuple[str, ...]] = Counter()
        for line in self.log:
            found[tuple(line[label] for label in by)] += line[what] if what else 1
        return found


def sums(scrape: Scrape, name: str, *by: str) -> Counter[tuple[str, ...]]:
    found: Counter[tuple[str, ...]] = Counter()
    for (each, labels), value in scrape.items():
        if each == name:
            found[tuple(dict(labels)[label] for label in by)] += value  # type: ignore[assignment]
    return found


def scrape(port: int) -> Scrape:
    """What is served now; nothing while the agent is not up yet."""
    try:
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    except OSError:
        return {}
    families = parser.text_string_to_metric_families(text)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """Six videos, of which one is dropped and one fails at the end, and a file that is no video."""
    from ray.cluster_utils import Cluster

    videos, out = tmp_path_factory.mktemp("videos"), tmp_path_factory.mktemp("out")
    for number in range(6):
        write_video(videos / f"{number}.mp4", (scene(number, n, 320, 320) for n in range(54)), rate=25)
    (videos / "broken.mp4").write_bytes(b"nothing of a video")
    first, second = (hashlib.sha256((videos / f"{n}.mp4").read_bytes()).hexdigest()[:16] for n in range(2))
    # The workers get the environment of their node.
    stub = {"STUB_SECONDS": "1", "STUB_ENDS": json.dumps({first: "dropped", second: "failed"}), "OMP_NUM_THREADS": "1"}
    port, seen = free_port(), Watched()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stub.items():
            patch.setenv(name, value)
        node = {"num_cpus": 4, "include_dashboard": False, "metrics_export_port": port}
        cluster = Cluster(initialize_head=True, head_node_args=node)
        try:
            environment = {**os.environ, "RAY_ADDRESS": cluster.address}
            command = [sys.executable, "-m", "tests.cluster.stub_job", str(videos), "--out", str(out)]
            with (tmp_path_factory.mktemp("told") / "stderr").open("w+") as told:
                process = subprocess.Popen([*command, "--executor", "ray"], env=environment, stderr=told, cwd=ROOT)
                _watch(process, port, seen)
                told.seek(0)
                # A run in which a unit failed ends with 1.
                assert process.returncode == 1, told.read()[-4000:]
        finally:
            cluster.shutdown()
    logs = (out / "work" / "log").glob("*/*.jsonl")
    seen.log = [json.loads(line) for path in logs for line in path.read_text().splitlines()]
    return seen


def _watch(process: subprocess.Popen[bytes], port: int, seen: Watched) -> None:
    """Scrape every second until the run has ended and its workers are told of no more."""
    end = time.monotonic() + PATIENCE
    while not seen.scrapes or process.poll() is None or sums(seen.scrapes[-1][1], "ray_vividpose_workers"):
        assert time.monotonic() < end, f"still at work, or workers still served: {seen.scrapes[-1][1].keys()}"
        seen.scrapes.append((time.monotonic(), scrape(port)))
        time.sleep(1)


def test_units_are_counted_as_the_log_tells_them(watched: Watched):
    units = watched.sums("ray_vividpose_units_total", "stage", "status")
    assert units == watched.told("", "stage", "status")
    ends = {(stage, status): number for (stage, status), number in units.items() if status != "done"}
    assert ends == {("ingest", "quarantined"): 1, ("quality", "dropped"): 1, ("quality", "failed"): 1}
    assert units["keypoints", "done"] == 6


def test_frames_are_counted_as_the_log_tells_them(watched: Watched):
    frames = watched.sums("ray_vividpose_frames_total", "stage")
    assert frames == +watched.told("frames", "stage")
    assert frames["render",] == 6 * 54


def test_busy_seconds_are_counted_as_the_log_tells_them(watched: Watched):
    busy = watched.sums("ray_vividpose_busy_seconds_total", "stage")
    assert busy == pytest.approx(watched.told("seconds", "stage"), abs=0.01)
    assert busy["render",] > 6


def test_each_stage_is_in_its_pool(watched: Watched):
    assert set(watched.sums("ray_vividpose_units_total", "pool", "stage")) == {
        ("ingest", "ingest"),
        *(("perceive", stage) for stage in ("people", "keypoints", "face")),
        *(("body", stage) for stage in ("body", "render", "quality")),
        ("pack", "pack"),
    }


@pytest.mark.parametrize("pool", ["ingest", "perceive", "body", "pack"])
def test_the_busy_share_of_a_pool_is_a_share(watched: Watched, pool: str):
    workers = [
        (when, number)
        for when, each in watched.scrapes
        if (number := sums(each, "ray_vividpose_workers", "pool")[pool,])
    ]
    assert workers
    most = max(number for _, number in workers)
    assert most in range(1, 5)
    lasted = workers[-1][0] - workers[0][0] + LATE
    assert 0 < watched.sums("ray_vividpose_busy_seconds_total", "pool")[pool,] / (most * lasted) <= 1


def test_workers_that_have_gone_are_not_counted(watched: Watched):
    assert any(sums(each, "ray_vividpose_workers") for _, each in watched.scrapes)
    assert not watched.sums("ray_vividpose_workers")


def test_the_metrics_of_the_page_are_those_that_are_served(watched: Watched):
    served = {name for _, each in watched.scrapes for name, _ in each if name.startswith("ray_vividpose_")}
    assert set(re.findall(r"^\| `(ray_\w+)`", PAGE.read_text(), re.MULTILINE)) == served


def _questions() -> list[str]:
    """The expressions of the board, and the one of the page."""
    panels = json.loads(BOARD.read_text())["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    return asked + re.findall(r"^ {4}(.*ray_.*)$", PAGE.read_text(), re.MULTILINE)


@pytest.mark.parametrize("question", _questions())
def test_what_the_board_and_the_page_ask_for_is_served(watched: Watched, question: str):
    labels = {label for each in re.findall(r"by \(([^)]*)\)", question) for label in re.split(r", *", each)}
    labels |= set(re.findall(r"(\w+)=\"", question))
    # Prometheus itself adds `instance`.
    labels -= {"instance"}
    served: dict[str, set[str]] = {}
    for _, each in watched.scrapes:
        for name, of in each:
            served.setdefault(name, set()).update(label for label, _ in of)
    for name in re.findall(r"\bray_\w+", question):
        if name.startswith("ray_node_gpus") and name not in served:
            reporter = pytest.importorskip("ray.dashboard.modules.reporter.reporter_agent")
            assert name.removeprefix("ray_") in reporter.METRICS_GAUGES
            pytest.skip("no GPU here: only that Ray knows the name")
        assert name in served
        # In a quotient each side has its own labels.
        if len(re.findall(r"\bray_\w+", question)) == 1:
            assert labels <= served[name]
