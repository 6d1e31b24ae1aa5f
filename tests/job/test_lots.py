"""Lots and their tables: finished ones are not looked at again, and what they say is what the records say."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engine.storage import open_store
from pipelines.job import lots
from pipelines.job import tables as tables_module
from pipelines.job.lots import LotTables, cut_lots, groups
from pipelines.job.plan import Census, ShardPlan, SourcePlan, scatter
from pipelines.job.tables import Tables


def sha256(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


def clip(number: int, state: str = "kept", **more: object) -> dict[str, object]:
    return {
        "kind": "clip",
        "source_sha256": sha256(number // 2),
        "key": f"k{number:03d}",
        "state": state,
        "start_frame": number,
        "seconds": 2.0,
        "scores": {"jitter": number / 4},
        "bytes": 10,
        "clip_index": number % 2,
        "ingest_unit": "u",
        **more,
    }


def census(count: int) -> Census:
    rows = [SourcePlan(f"/v/{n}.mp4", f"{n}.mp4", sha256(n), 1, {"licence": "CC0-1.0"}) for n in range(count)]
    return Census({row.sha256 or "": row for row in rows}, {}, [])


@given(st.lists(st.integers(), max_size=50), st.integers(1, 9))
def test_groups_hold_everything_in_order(items: list[int], size: int):
    cut = list(groups(items, size))
    assert [item for group in cut for item in group] == items
    assert all(len(group) == size for group in cut[:-1])


def test_new_sources_change_no_lot_but_the_last(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lots, "LOT_SOURCES", 4)
    before, after = cut_lots([sha256(n) for n in range(10)]), cut_lots([sha256(n) for n in range(13)])
    assert before[:2] == after[:2]
    assert before[2].id != after[2].id


@pytest.fixture
def kept(tmp_path: Path) -> LotTables:
    (tmp_path / "scratch").mkdir()
    return LotTables(open_store(tmp_path / "work"), "pipeline", tmp_path / "scratch")


def test_a_lot_with_work_left_is_not_sealed(kept: LotTables, tmp_path: Path):
    done, left = cut_lots(["a"])[0], cut_lots(["b"])[0]
    kept.write(done, [clip(0)], seal=True)
    kept.write(left, [clip(1, "failed")], seal=False)
    again = LotTables(open_store(tmp_path / "work"), "pipeline", tmp_path / "other")
    assert again.sealed == {done.id}


def test_other_settings_know_nothing_of_a_sealed_lot(kept: LotTables, tmp_path: Path):
    kept.write(cut_lots(["a"])[0], [clip(0)], seal=True)
    assert LotTables(open_store(tmp_path / "work"), "another", tmp_path).sealed == set()


def test_tables_of_lots_that_are_no_more_go(kept: LotTables):
    old, new = cut_lots(["a"])[0], cut_lots(["b"])[0]
    for lot in (old, new):
        kept.write(lot, [clip(0)], seal=True)
    kept.work.put(kept.packed, b"{}")
    kept.remove_stale([new])
    assert {entry.key for entry in kept.work.list_prefix("lots")} == {f"lots/pipeline/{new.id}.parquet", kept.packed}


@pytest.fixture
def tables(kept: LotTables, tmp_path: Path):
    """Six clips of three sources, of which the fourth was dropped; two of them have a shard."""
    [lot] = cut_lots([sha256(n) for n in range(3)])
    rows = [clip(n) for n in range(6) if n != 3] + [clip(3, "dropped", reason="crowd")]
    rows.append({"kind": "note", "source_sha256": sha256(1), "message": "cut short", "clip_index": 0})
    rows.append({"kind": "span", "source_sha256": sha256(2), "state": "dropped", "reason": "black", "start_frame": 99})
    kept.write(lot, rows, seal=True)
    made = Tables(tmp_path / "scratch", [kept.path(lot)])
    made.add_census(census(3))
    made.add_planned([ShardPlan("s0.tar", ("k000", "k003")), ShardPlan("s1.tar", ("k005",))])
    yield made
    made.close()


def test_kept_clips_without_a_shard_come_in_the_order_of_their_hashes(tables: Tables):
    assert list(tables.free()) == [(key, 10) for key in sorted(["k001", "k002", "k004"], key=scatter)]


def test_a_shard_holds_its_kept_clips(tables: Tables):
    tables.add_planned([ShardPlan("s2.tar", ("k004", "k001"))])
    tables.gather(["s0.tar", "s1.tar", "s2.tar"])

    def clips(*names: str) -> dict[str, list[str]]:
        return {shard: [each.key for each in clips] for shard, clips in tables.clips_of_shards(names)}

    assert clips("s0.tar", "s1.tar") == {"s0.tar": ["k000"], "s1.tar": ["k005"]}
    assert clips("s0.tar", "s2.tar") == {"s0.tar": ["k000"], "s2.tar": ["k001", "k004"]}


def test_what_a_shard_is_made_of_changes_with_its_sources_alone(tables: Tables):
    before = tables.shards()
    tables.db.execute("UPDATE sources SET told = 'another licence' WHERE path = '/v/2.mp4'")
    after = tables.shards()
    assert before["s0.tar"] == after["s0.tar"]
    assert before["s1.tar"] != after["s1.tar"]


def test_the_manifest_has_every_row_but_notes_in_order(tables: Tables, tmp_path: Path):
    tables.add_packed(["s0.tar"])
    tables.write_manifest(tmp_path / "manifest.parquet", [{"source_path": "/v/a copy.mp4", "state": "dropped"}])
    rows = pq.read_table(tmp_path / "manifest.parquet").to_pylist()
    assert [(row["source_path"], row["key"], row["state"], row["shard"], row["score_jitter"]) for row in rows] == [
        ("/v/0.mp4", "k000", "kept", "s0.tar", 0.0),
        ("/v/0.mp4", "k001", "kept", None, 0.25),
        ("/v/1.mp4", "k002", "kept", None, 0.5),
        ("/v/1.mp4", "k003", "dropped", None, 0.75),
        ("/v/2.mp4", "k004", "kept", None, 1.0),
        ("/v/2.mp4", "k005", "kept", None, 1.25),
        ("/v/2.mp4", None, "dropped", None, None),
        ("/v/a copy.mp4", None, "dropped", None, None),
    ]
    assert {row["licence"] for row in rows[:7]} == {"CC0-1.0"}
    assert tables.notes(9) == [(sha256(1), "cut short")]


def test_the_manifest_is_the_same_however_it_is_cut(tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tables.add_packed(["s0.tar", "s1.tar"])
    whole, cut = tmp_path / "whole.parquet", tmp_path / "cut.parquet"
    more = [{"source_path": f"/v/{n}.mp4 copy", "state": "dropped", "licence": "none"} for n in range(3)]
    tables.write_manifest(whole, more)
    with monkeypatch.context() as patch:
        patch.setattr(tables_module, "ROW_GROUP", 1)
        tables.write_manifest(cut, more)
    assert pq.read_table(cut).equals(pq.read_table(whole))
    paths = pq.read_table(cut)["source_path"].to_pylist()
    assert paths == sorted(paths)
    assert len(paths) == 10


def test_what_a_shard_is_made_of_changes_with_each_of_its_clips(tables: Tables, kept: LotTables, tmp_path: Path):
    before = tables.shards()
    [lot] = cut_lots([sha256(n) for n in range(3)])
    kept.write(lot, [clip(n, ingest_unit="v" if n == 5 else "u") for n in range(6)], seal=True)
    (tmp_path / "again").mkdir()
    again = Tables(tmp_path / "again", [kept.path(lot)])
    again.add_census(census(3))
    again.add_planned([ShardPlan("s0.tar", ("k000", "k003")), ShardPlan("s1.tar", ("k005",))])
    after = again.shards()
    again.close()
    # k003 is kept now, k005 was ingested otherwise.
    assert before["s0.tar"] != after["s0.tar"]
    assert before["s1.tar"] != after["s1.tar"]


def test_a_dataset_without_lots_has_an_empty_manifest(tmp_path: Path):
    empty = Tables(tmp_path, [])
    empty.write_manifest(tmp_path / "manifest.parquet", [])
    assert (list(empty.free()), empty.shards()) == ([], {})
    assert pq.read_table(tmp_path / "manifest.parquet").num_rows == 0
    empty.close()
