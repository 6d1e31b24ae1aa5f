"""What is to be done, written down before it is done: which sources there are, and which clip goes into which shard.

Both plans are parts that are only ever added, each created once and never changed:

    work/plan/sources/000000.jsonl   a line per source, the latest line of a path wins
    work/plan/shards/000000.json     shards with their keys, as decided at the end of one run's annotate phase
"""

from __future__ import annotations

import gc
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from pipelines.audit.tombstones import Tombstones
from pipelines.engine.atomic import canonical_json
from pipelines.engine.storage import Store, open_store, parent


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """A source as planned. `sha256` is None for one that could not be read; `problem` then holds reason and message.

    path: absolute path or URL. name: the path below SRC, for people. provenance: what `read_provenance` found.
    """

    path: str
    name: str
    sha256: str | None
    bytes: int
    provenance: dict[str, Any] = field(default_factory=dict)
    problem: dict[str, str] | None = None


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the cycle collector still: while a million objects are made that stay, it would take as long as they do."""
    at_work = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if at_work:
            gc.enable()


@dataclass(frozen=True)
class ShardPlan:
    """A shard and the keys of the samples that belong to it, sorted."""

    name: str
    keys: tuple[str, ...]


SOURCES, SHARDS = "plan/sources", "plan/shards"
PART_SHARDS = 2000
# Lines that are parsed at once, which takes half the time of one after the other.
LINES = 1000


def _parts(store: Store, folder: str, suffix: str) -> list[str]:
    return sorted(entry.key for entry in store.list_prefix(folder) if entry.key.endswith(suffix))


def _add_part(store: Store, folder: str, suffix: str, data: bytes) -> None:
    number = len(_parts(store, folder, suffix))
    while not store.put_new(f"{folder}/{number:06d}{suffix}", data):
        number += 1


class Plan:
    """The plans under one work folder or URL."""

    def __init__(self, work: Path | str) -> None:
        self.withdrawn = Tombstones.read(parent(work))
        self.store = open_store(work)

    def sources(self) -> list[SourcePlan]:
        """Every source ever planned and not withdrawn, one entry per path, in the order of first appearance."""
        return list(self._known().values())

    def _known(self) -> dict[str, SourcePlan]:
        """What `sources` gives, by path."""
        with _uncollected():
            return self._not_withdrawn({row.path: row for row in self.all_sources()})

    def _not_withdrawn(self, rows: dict[str, SourcePlan]) -> dict[str, SourcePlan]:
        if not self.withdrawn:
            return rows
        return {path: row for path, row in rows.items() if self.withdrawn.find(row.sha256, row.provenance) is None}

    def all_sources(self) -> Iterator[SourcePlan]:
        """Every line ever written, also of content that a path no longer has and of what was withdrawn since."""
        for part in _parts(self.store, SOURCES, ".jsonl"):
            lines = io.BytesIO(self.store.get(part))
            while some := list(islice(lines, LINES)):
                for row in json.loads(b"[" + b",".join(some) + b"]"):
                    yield SourcePlan(**row)

    def add_sources(self, found: Iterable[SourcePlan]) -> list[SourcePlan]:
        """Write down what is new or has changed. Returns those."""
        return self.merge_sources(found)[1]

    def merge_sources(self, found: Iterable[SourcePlan]) -> tuple[list[SourcePlan], list[SourcePlan]]:
        """The same. Returns (what `sources` gives now, what is new or has changed)."""
        known = self._known()
        new = [row for row in found if known.get(row.path) != row]
        if new:
            _add_part(self.store, SOURCES, ".jsonl", b"".join(canonical_json(asdict(row)) + b"\n" for row in new))
        known |= self._not_withdrawn({row.path: row for row in new})
        return list(known.values()), new

    def shards(self) -> list[ShardPlan]:
        """Every shard ever planned, in order."""
        return list(self.each_shard())

    def each_shard(self) -> Iterator[ShardPlan]:
        """The same, a part at a time in memory."""
        for part in _parts(self.store, SHARDS, ".json"):
            for row in json.loads(self.store.get(part)):
                yield ShardPlan(row["name"], tuple(row["keys"]))

    def add_shards(self, sizes: Mapping[str, int], limit: int) -> list[ShardPlan]:
        """Plan shards for the keys in `sizes` (bytes) that no shard has yet. Returns all shards."""
        planned = self.shards()
        taken = {key for shard in planned for key in shard.keys}
        free = sorted((key for key in sizes if key not in taken), key=scatter)
        self.add_free(((key, sizes[key]) for key in free), limit, len(planned))
        return self.shards()

    def add_free(self, free: Iterable[tuple[str, int]], limit: int, planned: int) -> None:
        """Plan shards for keys that have none, given with their bytes in the order of `scatter`, so that the clips of
        one source spread over the shards. planned: how many shards there are.

        A part is written for every `PART_SHARDS` shards. A run that is killed between two parts changes nothing: the
        next one goes on at the shard where this one ended.
        """
        part: list[ShardPlan] = []
        for keys in group_by_size(free, limit):
            part.append(ShardPlan(f"vividpose-{planned:06d}.tar", tuple(sorted(keys))))
            planned += 1
            if len(part) == PART_SHARDS:
                self._add_shards(part)
                part = []
        if part:
            self._add_shards(part)

    def _add_shards(self, part: list[ShardPlan]) -> None:
        rows = [{"name": shard.name, "keys": shard.keys} for shard in part]
        _add_part(self.store, SHARDS, ".json", canonical_json(rows))


def group_by_size(items: Iterable[tuple[str, int]], limit: int) -> Iterator[list[str]]:
    """Cut a sequence of (key, bytes) into groups of at most `limit` bytes; one larger item is a group of its own."""
    group: list[str] = []
    total = 0
    for key, size in items:
        if group and total + size > limit:
            yield group
            group, total = [], 0
        group.append(key)
        total += size
    if group:
        yield group


def scatter(key: str) -> str:
    """What keys are sorted by before they are put into shards."""
    return hashlib.sha256(key.encode()).hexdigest()


@dataclass(frozen=True)
class Census:
    """The sources of a dataset as one run sees them.

    unique: the source that stands for each content, by sha256. copies: further paths with the same content, and the
    path that stands for it. problems: sources that cannot be read.
    """

    unique: dict[str, SourcePlan]
    copies: dict[str, str]
    problems: list[SourcePlan]

    def __len__(self) -> int:
        return len(self.unique) + len(self.copies) + len(self.problems)


def first_met(planned: Iterable[SourcePlan]) -> Iterator[str]:
    """The contents of planned sources, each once, in the order in which the dataset met them."""
    yield from dict.fromkeys(row.sha256 for row in planned if row.sha256 is not None)


def take_census(planned: Iterable[SourcePlan], found: Iterable[SourcePlan]) -> Census:
    """planned: every source ever planned; found: those behind SRC now.

    What is found now comes first, so that a folder that was moved keeps its clips and brings its new provenance.
    Sources of earlier runs stay, unless their content was found at another place.
    """
    here = {row.path for row in found}
    unique: dict[str, SourcePlan] = {}
    copies: dict[str, str] = {}
    problems: list[SourcePlan] = []
    elsewhere: list[SourcePlan] = []
    for row in planned:
        if row.path not in here:
            elsewhere.append(row)
        elif row.sha256 is None:
            problems.append(row)
        elif (first := unique.setdefault(row.sha256, row)) is not row:
            copies[row.path] = first.path
    for row in elsewhere:
        if row.sha256 is not None:
            unique.setdefault(row.sha256, row)
    return Census(unique, copies, problems)
