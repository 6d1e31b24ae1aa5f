"""What Prometheus would scrape from a Ray worker, and that the Grafana board asks for nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pipelines.engine import metrics

BOARD = Path(__file__).resolve().parents[2] / "docker" / "grafana" / "vividpose.json"


class Meter:
    """Stands in for one of Ray's: keeps what it was given."""

    def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
        self.name, self.tag_keys = name, set(tag_keys)
        self.values: list[tuple[float, dict[str, str]]] = []

    def inc(self, value: float, tags: dict[str, str]) -> None:
        assert set(tags) <= self.tag_keys
        self.values.append((value, tags))

    set = inc


@pytest.fixture
def meters(monkeypatch: pytest.MonkeyPatch):
    """Ray's meters replaced, in a process that looks like a worker."""
    ray_metrics = pytest.importorskip("ray.util.metrics")
    monkeypatch.setattr(ray_metrics, "Counter", Meter)
    monkeypatch.setattr(ray_metrics, "Gauge", Meter)
    monkeypatch.setattr(metrics, "_ray", lambda: ray_metrics)
    monkeypatch.setattr(metrics, "_pool", "")
    metrics._meters.cache_clear()
    yield metrics._meters()
    metrics._meters.cache_clear()


def test_a_unit_counts_with_its_stage_status_and_pool(meters):
    metrics.label_process("perceive")
    metrics.count("keypoints", "done", 120, 3.5)
    assert meters["units"].values == [(1, {"stage": "keypoints", "status": "done", "pool": "perceive"})]
    assert meters["frames"].values == [(120, {"stage": "keypoints", "pool": "perceive"})]
    assert meters["seconds"].values == [(3.5, {"stage": "keypoints", "pool": "perceive"})]
    assert meters["workers"].values == [(1, {"pool": "perceive"})]


def test_outside_ray_nothing_is_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(metrics, "_ray", lambda: None)
    monkeypatch.setattr(metrics, "_meters", lambda: pytest.fail("no meter is made"))
    metrics.count("keypoints", "done", 120, 3.5)


def test_the_board_asks_for_the_metrics_that_there_are(meters):
    asked = set(re.findall(r"ray_(vividpose_\w+?)(?:_total)?\b(?=[\[{)])", BOARD.read_text()))
    assert asked == {meter.name for meter in meters.values()}


def test_the_board_shows_every_panel_on_its_own_place():
    panels = json.loads(BOARD.read_text())["panels"]
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)
