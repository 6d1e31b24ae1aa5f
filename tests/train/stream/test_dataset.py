"""What enters the order: shards that are whole, decisions, lengths; told in numbers, refused in one sentence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.shard_index import ShardIndex, index_name
from tests.train.stream.small_shards import key_of, members_of, small_dataset, write_dataset
from train.stream.dataset import BadDataset, open_dataset
from train.stream.decisions import BadDecisions
from train.stream.settings import ClipSettings, StreamSettings
from train.stream.stream import Stream


def decide(out: Path, rows: list[tuple[str, str, str | None]]) -> None:
    columns = list(zip(*rows)) if rows else [(), (), ()]
    table = pa.table(
        {name: pa.array(column, pa.string()) for name, column in zip(("key", "decision", "split"), columns)}
    )
    pq.write_table(table, out / "decisions.parquet")


def keys_of(out: Path, settings: StreamSettings) -> set[str]:
    dataset = open_dataset(str(out), settings)
    found = set()
    for shard, count in enumerate(dataset.counts):
        for ordinal in range(count):
            index, number = dataset.find(shard, ordinal)
            found.add(index.keys[number])
    return found


def test_without_decisions_all_clips_enter(dataset: Path, settings: StreamSettings):
    assert keys_of(dataset, settings) == {key_of(n) for n in range(12)}
    assert str(open_dataset(str(dataset), settings).census) == "12 of 12 clips"


def test_only_what_is_kept_enters_and_the_undecided_are_told(tmp_path: Path, settings: StreamSettings):
    out = small_dataset(tmp_path / "d")
    decide(
        out,
        [(key_of(0), "drop", None), (key_of(1), "review", "train"), *((key_of(n), "keep", None) for n in range(2, 11))],
    )
    assert keys_of(out, settings) == {key_of(n) for n in range(2, 12)}
    census = open_dataset(str(out), settings).census
    assert str(census) == "10 of 12 clips (1 drop, 1 review, 1 kept without a decision)"


def test_a_split_is_read_alone_and_the_undecided_belong_to_training(tmp_path: Path, settings: StreamSettings):
    out = small_dataset(tmp_path / "d")
    decide(out, [(key_of(0), "keep", "val"), (key_of(1), "drop", "val"), (key_of(2), "keep", "train")])
    assert keys_of(out, replace(settings, split="val")) == {key_of(0)}
    assert keys_of(out, replace(settings, split="train")) == {key_of(n) for n in range(2, 12)}


def test_decisions_are_part_of_the_hash_and_their_spelling_is_not(tmp_path: Path, settings: StreamSettings):
    out = small_dataset(tmp_path / "d")
    hashes = [open_dataset(str(out), settings).hash]
    for rows in ([(key_of(3), "drop", None)], [(key_of(3), "review", None)], [(key_of(4), "drop", None)]):
        decide(out, rows)
        hashes.append(open_dataset(str(out), settings).hash)
    assert hashes[1] == hashes[2]
    assert len(set(hashes)) == 3


def test_a_split_without_decisions_is_an_error(dataset: Path, settings: StreamSettings):
    with pytest.raises(BadDataset, match=r"no decisions.parquet, so it has no split 'val'"):
        open_dataset(str(dataset), replace(settings, split="val"))


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"key": ["a"], "decision": ["keep"]}, "lacks the columns split"),
        ({"key": ["a"], "decision": ["maybe"], "split": [None]}, "no decision 'maybe'"),
        ({"key": ["a", "a"], "decision": ["keep", "drop"], "split": [None, None]}, "twice"),
    ],
)
def test_decisions_that_cannot_be_followed_are_refused(
    tmp_path: Path, settings: StreamSettings, table: dict, told: str
):
    out = small_dataset(tmp_path / "d", (2,))
    pq.write_table(pa.table(table), out / "decisions.parquet")
    with pytest.raises(BadDecisions, match=told):
        open_dataset(str(out), settings)


def test_decisions_that_are_no_parquet_are_refused(tmp_path: Path, settings: StreamSettings):
    out = small_dataset(tmp_path / "d", (2,))
    (out / "decisions.parquet").write_bytes(b"key,decision\n")
    with pytest.raises(BadDecisions, match="not a parquet file"):
        open_dataset(str(out), settings)


def test_short_clips_are_left_out_before_the_order_or_played_back_and_forth(tmp_path: Path, settings: StreamSettings):
    out = write_dataset(tmp_path / "d", [[("long", members_of(20, 0)), ("short", members_of(8, 1))]])
    clip = ClipSettings(frames=14, size=(32, 48))
    rejecting, playing = (replace(settings, clip=replace(clip, short=rule)) for rule in ("reject", "ping_pong"))
    assert keys_of(out, rejecting) == {"long"}
    assert str(open_dataset(str(out), rejecting).census) == "1 of 2 clips (1 too_short)"
    assert keys_of(out, playing) == {"long", "short"}
    for batch, _ in zip(Stream(playing), range(4)):
        assert batch.frames is not None
        assert batch.frames.shape[1] == 14


def test_no_usable_clip_is_an_error_that_says_why(dataset: Path, settings: StreamSettings):
    with pytest.raises(BadDataset, match=r"no clip of .* can be used: 0 of 12 clips \(12 too_short\)"):
        open_dataset(str(dataset), replace(settings, clip=ClipSettings(frames=21, size=(32, 48))))


def test_shards_without_an_index_are_scanned_to_the_same_order(
    tmp_path: Path, dataset: Path, settings: StreamSettings, caplog: pytest.LogCaptureFixture
):
    out = small_dataset(tmp_path / "d", indexed=False)
    assert open_dataset(str(out), settings).hash == open_dataset(str(dataset), settings).hash
    assert "3 of 3 shards had no index and were scanned" in caplog.text
    assert keys_of(out, settings) == {key_of(n) for n in range(12)}


@pytest.mark.parametrize("damage", ["truncated", "nonsense", "of another tar", "outside"])
def test_an_index_that_cannot_be_right_is_not_believed(tmp_path: Path, settings: StreamSettings, damage: str):
    out = small_dataset(tmp_path / "d")
    path = out / "shards" / index_name("vividpose-000000.tar")
    data = path.read_bytes()
    raw = json.loads(data)
    if damage == "outside":
        raw["members"]["json"][0] = [10**9, 5]
    if damage == "of another tar":
        raw["sha256"], raw["keys"] = "0" * 64, ["x"] * 5
    written = {"truncated": data[: len(data) // 2], "nonsense": b"[]"}.get(damage, json.dumps(raw).encode())
    path.write_bytes(written)
    assert keys_of(out, settings) == {key_of(n) for n in range(12)}


def test_an_index_survives_the_round_trip(dataset: Path):
    data = (dataset / "shards" / index_name("vividpose-000001.tar")).read_bytes()
    index = ShardIndex.from_json(data)
    assert index.to_json() == data
    tar = (dataset / "shards" / "vividpose-000001.tar").read_bytes()
    at, length = index.members["json"][2]
    assert json.loads(tar[at : at + length])["seed"] == 7


def test_every_missing_or_cut_shard_is_counted_before_the_first_sample(tmp_path: Path, settings: StreamSettings):
    out = small_dataset(tmp_path / "d")
    first, second = (out / "shards" / f"vividpose-00000{n}.tar" for n in (0, 2))
    first.unlink()
    second.write_bytes(second.read_bytes()[:-100])
    with pytest.raises(
        BadDataset, match=r"2 of 3 shards .*vividpose-000000.tar \(missing.*vividpose-000002.tar \(\d+ bytes"
    ):
        open_dataset(str(out), settings)


@pytest.mark.parametrize(
    ("listing", "told"),
    [
        (None, "no dataset.json"),
        ("nonsense", "not a dataset's listing"),
        ({"schema": 1}, "not a dataset's listing"),
        ({"schema": 9}, "schema version 9"),
        ({"hash": "00"}, "contradicts itself"),
    ],
)
def test_a_folder_that_is_no_dataset_is_told(tmp_path: Path, settings: StreamSettings, listing: object, told: str):
    out = small_dataset(tmp_path / "d", (2,))
    path = out / "dataset.json"
    whole = json.loads(path.read_text())
    if listing is None:
        path.unlink()
    elif isinstance(listing, dict) and len(listing) == 1 and listing != {"schema": 1}:
        path.write_text(json.dumps({**whole, **listing}))
    else:
        path.write_text(json.dumps(listing))
    with pytest.raises(BadDataset, match=told):
        open_dataset(str(out), settings)


def test_a_large_dataset_takes_four_bytes_a_sample(dataset: Path, settings: StreamSettings):
    opened = open_dataset(str(dataset), settings)
    assert opened.kept.dtype == np.int32
    assert len(opened.kept) == opened.census.kept
