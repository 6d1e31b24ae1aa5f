"""A dataset as the stream sees it: its shards checked and indexed, and which of their samples are in the order."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.engine.atomic import digest
from pipelines.shard_format import SCHEMA_VERSION, BadSample
from pipelines.shard_index import ShardIndex, index_name, index_tar
from train.stream.clip_choice import shortest_clip
from train.stream.decisions import DECISIONS_FILE, DEFAULT_SPLIT, Decisions, read_decisions
from train.stream.settings import StreamSettings
from train.stream.storage import CachedStorage, LocalStorage, RemoteStorage, Storage, open_storage

log = logging.getLogger(__name__)
INDEX_READERS = 8


class BadDataset(RuntimeError):
    """A dataset that cannot be streamed: what is missing or contradicts itself."""


@dataclass(frozen=True)
class Census:
    """What became of a dataset's clips before the order was made.

    total: in the shards. kept: in the order. left_out: by reason: drop, review, split, too_short. undecided: kept
    without a row in decisions.parquet.
    """

    total: int
    kept: int
    left_out: Mapping[str, int] = field(default_factory=dict)
    undecided: int = 0

    def __str__(self) -> str:
        parts = [f"{count} {reason}" for reason, count in sorted(self.left_out.items())]
        parts += [f"{self.undecided} kept without a decision"] if self.undecided else []
        return f"{self.kept} of {self.total} clips" + (f" ({', '.join(parts)})" if parts else "")


class Dataset:
    """One output folder of `vividpose shards`, ready to be read.

    name: the hash of its shards. hash: also of which samples are in the order. counts: int64 (shards,), kept per shard.
    kept: int32, the kept samples' numbers within their shards, shard after shard: 4 bytes a sample, all that is held
    of it.
    """

    def __init__(
        self,
        storage: Storage,
        rows: list[dict[str, Any]],
        name: str,
        kept: list[NDArray[np.int32]],
        census: Census,
        scanned: dict[int, ShardIndex],
    ) -> None:
        self.storage, self.rows, self.name, self.census = storage, rows, name, census
        self.counts = np.array([len(numbers) for numbers in kept], np.int64)
        self.kept = np.concatenate([np.empty(0, np.int32), *kept])
        self.starts = np.concatenate([[0], np.cumsum(self.counts)])
        chosen = hashlib.sha256(self.counts.astype("<i8").tobytes() + self.kept.astype("<i4").tobytes())
        self.hash = digest([name, chosen.hexdigest()])
        self._scanned = scanned
        self._index = lru_cache(maxsize=256)(self._read_index)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_index"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._index = lru_cache(maxsize=256)(self._read_index)

    def _read_index(self, shard: int) -> ShardIndex:
        if shard in self._scanned:
            return self._scanned[shard]
        index = stored_index(self.storage, self.rows[shard])
        if index is None:
            name = self.rows[shard]["name"]
            raise BadDataset(f"the index of {name} in {self.storage.place} has gone or changed since the start")
        return index

    def find(self, shard: int, ordinal: int) -> tuple[ShardIndex, int]:
        """(index of the shard, number of the sample in it) of the `ordinal`-th kept sample of a shard."""
        return self._index(shard), int(self.kept[int(self.starts[shard]) + ordinal])

    def members(self, index: ShardIndex, number: int, names: tuple[str, ...]) -> dict[str, bytes]:
        """The content of the named members of a sample."""
        spans = [index.members[name][number] for name in names]
        return dict(zip(names, self.storage.ranges(f"shards/{index.shard}", spans), strict=True))


def open_dataset(place: str, settings: StreamSettings) -> Dataset:
    """Read what a dataset lists, check that every shard is there whole, and choose its samples.

    Raises `BadDataset`, `BadDecisions`, `BadSample` (a shard without an index that cannot be scanned), `StorageError`.
    """
    storage = open_storage(place)
    rows, name = _listing(storage)
    sizes = storage.sizes("shards")
    _check_shards(storage, rows, sizes)
    decisions = _decisions(storage)
    if decisions is None and settings.split not in (None, DEFAULT_SPLIT):
        raise BadDataset(
            f"{storage.place} has no {DECISIONS_FILE}, so it has no split {settings.split!r}; run the audit"
        )

    def look(shard: int) -> tuple[NDArray[np.int32], Counter[str], ShardIndex | None]:
        row = rows[shard]
        index = stored_index(storage, row) if index_name(row["name"]) in sizes else None
        scanned = None if index is not None else scan_shard(storage, row)
        numbers, reasons = _choose(index or scanned, decisions, settings)  # type: ignore[arg-type]
        return numbers, reasons, scanned

    with ThreadPoolExecutor(INDEX_READERS) as pool:
        looks = list(pool.map(look, range(len(rows))))
    reasons: Counter[str] = sum((counted for _, counted, _ in looks), Counter())
    scanned = {shard: index for shard, (_, _, index) in enumerate(looks) if index is not None}
    if scanned:
        log.warning("%s: %d of %d shards had no index and were scanned", storage.place, len(scanned), len(rows))
    kept, undecided = reasons.pop("kept", 0), reasons.pop("undecided", 0)
    census = Census(sum(row["samples"] for row in rows), kept, dict(reasons), undecided)
    if not kept:
        raise BadDataset(f"no clip of {storage.place} can be used: {census}")
    return Dataset(_cached(storage, rows, settings), rows, name, [numbers for numbers, _, _ in looks], census, scanned)


def _cached(storage: LocalStorage | RemoteStorage, rows: list[dict[str, Any]], settings: StreamSettings) -> Storage:
    if isinstance(storage, LocalStorage) or settings.cache.folder is None:
        return storage
    sha256 = {f"shards/{row['name']}": row["sha256"] for row in rows}
    return CachedStorage(storage, Path(settings.cache.folder), int(settings.cache.gigabytes * 1e9), sha256)


def _listing(storage: Storage) -> tuple[list[dict[str, Any]], str]:
    try:
        data = storage.read("dataset.json")
    except (FileNotFoundError, NotADirectoryError):
        raise BadDataset(f"{storage.place} has no dataset.json: it is no output folder of `vividpose shards`") from None
    try:
        listing = json.loads(data)
        rows, name, schema = listing["shards"], listing["hash"], listing["schema"]
        found = digest([[row["name"], row["sha256"]] for row in rows])
        whole = all(isinstance(row[fact], int) for row in rows for fact in ("bytes", "samples"))
    except (ValueError, KeyError, TypeError) as error:
        raise BadDataset(f"{storage.place}/dataset.json is not a dataset's listing ({error!r})") from error
    if schema != SCHEMA_VERSION:
        raise BadDataset(f"{storage.place} has schema version {schema}; this software reads version {SCHEMA_VERSION}")
    if found != name or not whole:
        raise BadDataset(f"{storage.place}/dataset.json contradicts itself: hash {name}, its shards give {found}")
    if not rows:
        raise BadDataset(f"{storage.place} lists no shards")
    return rows, name


def _check_shards(storage: Storage, rows: list[dict[str, Any]], sizes: Mapping[str, int]) -> None:
    wrong = [
        f"{row['name']} ({'missing' if row['name'] not in sizes else str(sizes[row['name']]) + ' bytes'}, "
        f"listed with {row['bytes']} bytes)"
        for row in rows
        if sizes.get(row["name"]) != row["bytes"]
    ]
    if wrong:
        raise BadDataset(
            f"{len(wrong)} of {len(rows)} shards in {storage.place}/shards are not as dataset.json lists them: "
            f"{', '.join(wrong[:3])}. Copy them again, or make them again with `vividpose shards`."
        )


def _decisions(storage: Storage) -> Decisions | None:
    try:
        data = storage.read(DECISIONS_FILE)
    except FileNotFoundError:
        return None
    return read_decisions(data, f"{storage.place}/{DECISIONS_FILE}")


def stored_index(storage: Storage, row: Mapping[str, Any]) -> ShardIndex | None:
    """The index beside a shard, or None where there is none or it is of another tar than the one that is listed."""
    where = f"shards/{index_name(row['name'])}"
    try:
        index = ShardIndex.from_json(storage.read(where), f"{storage.place}/{where}")
    except FileNotFoundError:
        return None
    except BadSample as error:
        log.warning("%s", error)
        return None
    return index if (index.sha256, index.size) == (row["sha256"], row["bytes"]) else None


def scan_shard(storage: Storage, row: Mapping[str, Any]) -> ShardIndex:
    """The index of a shard that has none, from its tar headers."""
    with storage.stream(f"shards/{row['name']}") as stream:
        return index_tar(stream, row["name"], row["sha256"], row["bytes"])


def _choose(
    index: ShardIndex, decisions: Decisions | None, settings: StreamSettings
) -> tuple[NDArray[np.int32], Counter[str]]:
    """The numbers of the samples that enter the order, and how many went why ("kept" and "undecided" among them)."""
    counted: Counter[str] = Counter()
    numbers = []
    none = [None] * len(index)
    decided, splits = decisions.of(list(index.keys)) if decisions else (none, none)
    for number, (decision, split) in enumerate(zip(decided, splits)):
        length, fps = index.frames[number], Fraction(*index.fps[number])
        if decision in ("drop", "review"):
            counted[decision] += 1
        elif settings.split is not None and (split or DEFAULT_SPLIT) != settings.split:
            counted["split"] += 1
        elif length < shortest_clip(fps, settings.clip):
            counted["too_short"] += 1
        else:
            counted["kept"] += 1
            counted["undecided"] += int(decisions is not None and decision is None)
            numbers.append(number)
    return np.array(numbers, np.int32), counted
