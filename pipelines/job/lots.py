"""Sources in lots, and what became of each lot's clips, in one small table a lot.

A dataset may have millions of sources. They are worked on lot after lot, so that a run holds few clips at a time. When
every clip of a lot has ended, its rows are written down under a name that stands for the lot's content and for all that
the results depend on:

    work/lots/<pipeline>/<lot>.parquet

A lot that has its table needs no further look: the next run reads one listing instead of millions of records. The
tables are a copy of what the records say and may be removed at any time; the records stay the truth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.engine.atomic import digest
from pipelines.engine.storage import Store

Item = TypeVar("Item")
FOLDER = "lots"
LOT_SOURCES = 256
# Sources that are ingested before their clips are annotated, and clips that are annotated at a time.
WAVE_LOTS = 16
WAVE_CLIPS = 50_000
# Raise when the rows of `dataset.lot_rows` change.
VERSION = 1
ROWS = pa.schema(
    [
        *((name, pa.string()) for name in ("kind", "source_sha256", "key", "state", "stage", "reason", "message")),
        *((name, pa.int64()) for name in ("start_frame", "end_frame", "frames")),
        ("seconds", pa.float64()),
        ("fps", pa.float64()),
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("scores", pa.map_(pa.string(), pa.float64())),
        ("bytes", pa.int64()),
        ("clip_index", pa.int64()),
        ("ingest_unit", pa.string()),
    ]
)


@dataclass(frozen=True)
class Lot:
    """Some sources, by the sha256 of their content. `id` stands for exactly these."""

    id: str
    sources: tuple[str, ...]


def groups(items: Iterable[Item], size: int) -> Iterator[tuple[Item, ...]]:
    """Items in tuples of `size`, the last one shorter."""
    left = iter(items)
    while some := tuple(islice(left, size)):
        yield some


def cut_lots(sources: Sequence[str]) -> list[Lot]:
    """Lots of the sources in the order in which the dataset met them: those of earlier runs stay as they are."""
    return [Lot(digest([VERSION, *some])[:40], some) for some in groups(sources, LOT_SOURCES)]


def waves(lots: Sequence[Lot]) -> Iterator[tuple[Lot, ...]]:
    """The lots that are worked on together."""
    yield from groups(lots, WAVE_LOTS)


class LotTables:
    """The tables of the lots under one pipeline, which is the hash of the stages and of all that they depend on.

    scratch: a local folder for the tables of lots that have work left, which count for this run only, and for copies.
    """

    def __init__(self, work: Store, pipeline: str, scratch: Path) -> None:
        self.work = work
        self.folder = f"{FOLDER}/{pipeline}"
        self.packed = f"{self.folder}/packed.json"
        self.scratch = scratch
        self.sealed = {Path(entry.key).stem for entry in work.list_prefix(self.folder)}

    def write(self, lot: Lot, rows: Sequence[Mapping[str, Any]], *, seal: bool) -> None:
        """Keep a lot's rows: for good when it is complete, else for this run."""
        table = pa.Table.from_pylist([dict(row) for row in rows], schema=ROWS)
        pq.write_table(table, self.scratch / f"{lot.id}.parquet", compression="zstd")
        if seal:
            self.work.put(self._key(lot), self.scratch / f"{lot.id}.parquet")
            self.sealed.add(lot.id)

    def path(self, lot: Lot) -> Path:
        """A local file with a lot's rows."""
        here = self.scratch / f"{lot.id}.parquet"
        if here.exists():
            return here
        kept = self.work.local(self._key(lot))
        if kept is not None:
            return kept
        self.work.fetch(self._key(lot), here)
        return here

    def unseal(self, lot: Lot) -> None:
        """Look at a lot again."""
        self.work.delete(self._key(lot))
        self.sealed.discard(lot.id)

    def remove_stale(self, lots: Sequence[Lot]) -> None:
        """Remove the tables of lots that are no more, and those of other settings."""
        current = {self.packed, *(self._key(lot) for lot in lots)}
        for entry in list(self.work.list_prefix(FOLDER)):
            if entry.key not in current:
                self.work.delete(entry.key)

    def _key(self, lot: Lot) -> str:
        return f"{self.folder}/{lot.id}.parquet"
