"""Plans only grow, and say the same for the same input."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.job import plan as plan_module
from pipelines.job.plan import Plan, SourcePlan, group_by_size, take_census


def source(path: str, sha256: str | None = "a" * 64) -> SourcePlan:
    return SourcePlan(path, path, sha256, 10)


def test_a_source_is_written_down_once(tmp_path: Path):
    plan = Plan(tmp_path)
    plan.add_sources([source("a")])
    assert plan.add_sources([source("a")]) == []
    assert plan.sources() == [source("a")]


def test_a_changed_file_replaces_its_line(tmp_path: Path):
    plan = Plan(tmp_path)
    plan.add_sources([source("a"), source("b")])
    plan.add_sources([source("a", "c" * 64)])
    assert plan.sources() == [source("a", "c" * 64), source("b")]


def test_a_title_may_hold_any_line_break_that_unicode_knows(tmp_path: Path):
    told = SourcePlan("a", "a", "a" * 64, 10, {"title": "one\u2028two\u0085three\x0bfour\nfive"})
    Plan(tmp_path).add_sources([told])
    assert Plan(tmp_path).sources() == [told]


def test_many_sources_come_back_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plan_module, "LINES", 3)
    many = [source(str(number), f"{number:064x}") for number in range(10)]
    Plan(tmp_path).add_sources(many)
    assert Plan(tmp_path).sources() == many


def test_sources_of_earlier_runs_stay(tmp_path: Path):
    plan = Plan(tmp_path)
    plan.add_sources([source("a")])
    plan.add_sources([source("b")])
    assert [row.path for row in plan.sources()] == ["a", "b"]


def test_new_clips_go_into_new_shards_and_old_shards_stay(tmp_path: Path):
    plan = Plan(tmp_path)
    first = plan.add_shards({"k1": 10, "k2": 10}, limit=100)
    both = plan.add_shards({"k1": 10, "k2": 10, "k3": 10}, limit=100)
    assert both[:1] == first
    assert [(shard.name, shard.keys) for shard in both[1:]] == [("vividpose-000001.tar", ("k3",))]


def test_planning_twice_changes_nothing(tmp_path: Path):
    plan = Plan(tmp_path)
    assert plan.add_shards({"k1": 10}, 100) == plan.add_shards({"k1": 10}, 100)


def test_files_with_the_same_content_are_one_source():
    rows = [source("b"), source("a"), source("c", None)]
    census = take_census(rows, rows)
    assert (census.unique, census.copies) == ({"a" * 64: source("b")}, {"a": "b"})
    assert census.problems == [source("c", None)]


def test_an_unreadable_source_of_an_earlier_run_is_no_problem_of_this_one():
    assert take_census([source("gone", None), source("a")], [source("a")]).problems == []


def test_a_moved_file_stands_for_its_content_at_its_new_place():
    census = take_census([source("old/a"), source("new/a")], [source("new/a")])
    assert (census.unique, census.copies) == ({"a" * 64: source("new/a")}, {})


@given(sizes=st.lists(st.integers(1, 50), max_size=60), limit=st.integers(1, 100))
def test_groups_hold_everything_once_in_order_and_within_the_limit(sizes: list[int], limit: int):
    items = [(str(i), size) for i, size in enumerate(sizes)]
    groups = list(group_by_size(items, limit))
    assert [key for group in groups for key in group] == [key for key, _ in items]
    for group in groups:
        assert len(group) == 1 or sum(sizes[int(key)] for key in group) <= limit
