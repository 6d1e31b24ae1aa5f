"""Questions to the rows of all lots at once: what to pack, what to tell. DuckDB answers in bounded memory.

More rows than fit go through files in the scratch folder, so ten million clips take no more memory than a hundred
thousand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from pipelines.engine.atomic import digest
from pipelines.job.dataset import COLUMNS, PROVENANCE
from pipelines.job.lots import groups
from pipelines.job.plan import Census, ShardPlan
from pipelines.job.stages import Clip

MEMORY = "1GB"
BATCH = 10_000
_text = pa.string()


class Tables:
    """The rows of the lots, the sources and the planned shards, as tables. files: what `LotTables.path` gave."""

    def __init__(self, folder: Path, files: Sequence[Path]) -> None:
        self.db = duckdb.connect(str(folder / "tables.duckdb"))
        self.db.execute(f"SET memory_limit='{MEMORY}'; SET temp_directory='{folder}/spill'; SET threads=2")
        self.db.execute("SET preserve_insertion_order=false; SET enable_progress_bar=false")
        if files:
            self.db.read_parquet([str(path) for path in files]).create_view("rows")
        self.files = bool(files)
        names = ", ".join(f"{name} VARCHAR" for name in PROVENANCE)
        self.db.execute(f"CREATE TABLE sources (sha256 VARCHAR, path VARCHAR, told VARCHAR, {names})")
        self.db.execute("CREATE TABLE planned (shard VARCHAR, key VARCHAR)")
        self.db.execute("CREATE TABLE packed (shard VARCHAR)")

    def close(self) -> None:
        self.db.close()

    def add_census(self, census: Census) -> None:
        """What is known of the sources. `told` is the hash of what goes into samples beside the units."""
        for some in groups(census.unique.items(), BATCH):
            rows = [
                {
                    "sha256": sha256,
                    "path": source.path,
                    "told": digest([source.name, source.provenance]),
                    **{name: source.provenance.get(name, "unknown") for name in PROVENANCE},
                }
                for sha256, source in some
            ]
            self._insert("sources", rows, ("sha256", "path", "told", *PROVENANCE))

    def add_planned(self, shards: Iterable[ShardPlan]) -> None:
        for some in groups(((shard.name, key) for shard in shards for key in shard.keys), 20 * BATCH):
            self._insert("planned", [{"shard": shard, "key": key} for shard, key in some], ("shard", "key"))

    def add_packed(self, names: Iterable[str]) -> None:
        for some in groups(names, BATCH):
            self._insert("packed", [{"shard": name} for name in some], ("shard",))

    def _insert(self, table: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
        values = pa.table({name: pa.array([row[name] for row in rows], _text) for name in columns})
        self.db.register("batch", values)
        self.db.execute(f"INSERT INTO {table} SELECT * FROM batch")
        self.db.unregister("batch")

    def _stream(self, query: str) -> Iterator[tuple[Any, ...]]:
        cursor = self.db.cursor()
        try:
            cursor.execute(query)
            while some := cursor.fetchmany(BATCH):
                yield from some
        finally:
            cursor.close()

    def free(self) -> Iterator[tuple[str, int]]:
        """(key, bytes) of kept clips that no shard has, in the order of the keys' hashes."""
        if self.files:
            yield from self._stream(
                "SELECT key, bytes FROM rows ANTI JOIN planned USING (key) "
                "WHERE kind = 'clip' AND state = 'kept' ORDER BY sha256(key)"
            )

    def shards(self) -> dict[str, str]:
        """Every planned shard that holds a kept clip -> a hash of all that its samples are made of, in order."""
        if not self.files:
            return {}
        # Sorted, which goes through files where memory ends; an ordered aggregate would hold all members at once.
        members = self._stream(
            "SELECT shard, key || ingest_unit || clip_index || told FROM planned JOIN rows USING (key) "
            "JOIN sources ON source_sha256 = sha256 WHERE state = 'kept' ORDER BY shard, key"
        )
        return {
            shard: hashlib.sha256(",".join(told for _, told in rows).encode()).hexdigest()
            for shard, rows in groupby(members, lambda row: row[0])
        }

    def clips_of_shards(self, names: Sequence[str]) -> Iterator[tuple[str, list[Clip]]]:
        """The kept clips of some shards, shard by shard, without their facts."""
        self.db.execute("CREATE OR REPLACE TABLE wanted (shard VARCHAR)")
        self._insert("wanted", [{"shard": name} for name in names], ("shard",))
        rows = self._stream(
            "SELECT shard, key, source_sha256, ingest_unit, clip_index FROM wanted JOIN planned USING (shard) "
            "JOIN rows USING (key) WHERE state = 'kept' ORDER BY shard, key"
        )
        for shard, members in groupby(rows, lambda row: row[0]):
            yield shard, [Clip(key, source, unit, index, {}) for _, key, source, unit, index in members]

    def write_manifest(self, path: Path, more: Sequence[Mapping[str, Any]]) -> None:
        """Write manifest.parquet: a row per clip, per span that made no clip, and per source that gave neither.

        more: rows of sources that are in no lot. Score columns are named `score_<name>`; a score that was not measured
        is null.
        """
        schema = pa.schema(COLUMNS)
        self.db.register("others", pa.Table.from_pylist([dict(row) for row in more], schema=schema))
        columns = [name for name, _ in COLUMNS]
        query, scores = "SELECT * FROM others", []
        if self.files:
            found = self.db.execute("SELECT DISTINCT unnest(map_keys(scores)) AS name FROM rows ORDER BY name")
            scores = [name for (name,) in found.fetchall()]
            taken = ", ".join(_column(name) for name in columns)
            measured = "".join(f", scores['{name}'] AS \"score_{name}\"" for name in scores)
            empty = "".join(f', NULL::DOUBLE AS "score_{name}"' for name in scores)
            query = (
                f"SELECT {taken}{measured} FROM rows LEFT JOIN sources ON source_sha256 = sha256 "
                "LEFT JOIN (SELECT planned.key AS member, shard FROM planned JOIN packed USING (shard)) "
                "ON state = 'kept' AND key = member WHERE kind <> 'note' "
                f"UNION ALL SELECT *{empty} FROM others"
            )
        target = str(path).replace("'", "''")
        self.db.execute(
            f"COPY (SELECT * FROM ({query}) ORDER BY source_path, coalesce(start_frame, 0), coalesce(key, '')) "
            f"TO '{target}' (FORMAT parquet, COMPRESSION zstd)"
        )

    def notes(self, limit: int) -> list[tuple[str, str]]:
        """(sha256 of a source, what was noted of it)."""
        if not self.files:
            return []
        return list(
            self._stream(
                f"SELECT source_sha256, message FROM rows WHERE kind = 'note' ORDER BY 1, clip_index LIMIT {limit}"
            )
        )


def _column(name: str) -> str:
    if name == "source_path":
        return "sources.path AS source_path"
    if name in PROVENANCE:
        return f"sources.{name}"
    return "shard" if name == "shard" else f"rows.{name}"
