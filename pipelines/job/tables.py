"""Questions to the rows of all lots at once: what to pack, what to tell. DuckDB answers in bounded memory.

More rows than fit go through files in the scratch folder, so ten million clips take no more memory than a hundred
thousand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.engine.atomic import digest
from pipelines.job.dataset import COLUMNS, PROVENANCE
from pipelines.job.lots import groups
from pipelines.job.plan import Census, ShardPlan
from pipelines.job.stages import Clip

MEMORY = "1GB"
BATCH = 10_000
SHARDS = 2_000
ROW_GROUP = 100_000
OF_SOURCES = ("source_sha256", "source_path", *PROVENANCE)


class Tables:
    """The rows of the lots, the sources and the planned shards, as tables. files: what `LotTables.path` gave."""

    def __init__(self, folder: Path, files: Sequence[Path]) -> None:
        self.folder = folder
        self.db = duckdb.connect(str(folder / "tables.duckdb"))
        self.db.execute(f"SET memory_limit='{MEMORY}'; SET temp_directory='{folder}/spill'; SET threads=2")
        self.db.execute("SET preserve_insertion_order=false; SET enable_progress_bar=false")
        if files:
            self.db.read_parquet([str(path) for path in files]).create_view("rows")
        self.files = bool(files)
        names = ", ".join(f"{name} VARCHAR" for name in PROVENANCE)
        self.db.execute(f"CREATE TABLE sources (sha256 VARCHAR, path VARCHAR, told VARCHAR, {names})")
        # Shards by number, in the order in which they were planned: a name takes ten times the room.
        self.numbers: dict[str, int] = {}
        self.db.execute("CREATE TABLE planned (number INTEGER, key VARCHAR)")
        self.packed: set[str] = set()

    def close(self) -> None:
        self.db.close()

    def add_census(self, census: Census) -> None:
        """What is known of the sources. `told` is the hash of what goes into samples beside the units."""
        for some in groups(census.unique.values(), BATCH):
            columns = {
                "sha256": [source.sha256 for source in some],
                "path": [source.path for source in some],
                "told": [digest([source.name, source.provenance])[:16] for source in some],
                **{name: [source.provenance.get(name, "unknown") for source in some] for name in PROVENANCE},
            }
            self._insert("sources", {name: pa.array(column, pa.string()) for name, column in columns.items()})

    def add_planned(self, shards: Iterable[ShardPlan]) -> None:
        for some in groups(shards, SHARDS):
            numbers = [self.numbers.setdefault(shard.name, len(self.numbers)) for shard in some]
            keys = pa.array([shard.keys for shard in some], pa.list_(pa.string()))
            of_each = pa.array(numbers, pa.int32()).take(keys.value_parent_indices())
            self._insert("planned", {"number": of_each, "key": keys.flatten()})

    def add_packed(self, names: Iterable[str]) -> None:
        """Shards that there are now: the manifest names no others."""
        self.packed.update(names)

    def _insert(self, table: str, columns: Mapping[str, pa.Array]) -> None:
        self.db.register("batch", pa.table(dict(columns)))
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
        """(key, bytes) of kept clips that no shard has, in the order of `plan.scatter`."""
        if self.files:
            # Of equal first 64 bits of the hash the keys decide.
            yield from self._stream(
                "SELECT key, bytes FROM rows ANTI JOIN planned USING (key) WHERE kind = 'clip' AND state = 'kept' "
                "ORDER BY ('0x' || sha256(key)[1:16])::UBIGINT, key"
            )

    def shards(self) -> dict[str, str]:
        """Every planned shard that holds a kept clip -> what stands for all that its samples are made of."""
        if not self.files:
            return {}
        # How many members, and their hashes in one that asks for no order: a sort would hold all members. Narrow before
        # they are joined, since the join holds one of the two sides.
        found = self._stream(
            "SELECT number, count(*), bit_xor(made) FROM (SELECT key, md5_number(key || ingest_unit || clip_index || "
            "told) AS made FROM rows JOIN sources ON source_sha256 = sha256 WHERE state = 'kept') "
            "LEFT JOIN planned USING (key) GROUP BY number ORDER BY number"
        )
        names = list(self.numbers)
        return {names[number]: f"{count} {made:032x}" for number, count, made in found if number is not None}

    def gather(self, names: Iterable[str]) -> None:
        """Lay the kept clips of some shards side by side, so that `clips_of_shards` looks at few others."""
        self.db.execute("CREATE OR REPLACE TABLE wanted (number INTEGER)")
        self._insert("wanted", {"number": pa.array([self.numbers[name] for name in names], pa.int32())})
        self.db.execute(
            "CREATE OR REPLACE TABLE members AS SELECT number, key, source_sha256, ingest_unit, clip_index "
            "FROM wanted JOIN planned USING (number) JOIN rows USING (key) WHERE state = 'kept' ORDER BY number"
        )

    def clips_of_shards(self, names: Sequence[str]) -> Iterator[tuple[str, list[Clip]]]:
        """The kept clips of some of the shards that were gathered, shard by shard, without their facts."""
        by_number = {self.numbers[name]: name for name in names}
        rows = self._stream(
            f"SELECT * FROM members WHERE number BETWEEN {min(by_number)} AND {max(by_number)} ORDER BY number, key"
        )
        for number, members in groupby(rows, lambda row: row[0]):
            if number in by_number:
                yield by_number[number], [Clip(key, source, unit, index, {}) for _, key, source, unit, index in members]

    def write_manifest(self, path: Path, more: Sequence[Mapping[str, Any]]) -> None:
        """Write manifest.parquet: a row per clip, per span that made no clip, and per source that gave neither.

        more: rows of sources that are in no lot. Score columns are named `score_<name>`; a score that was not measured
        is null. Rows are in the order of their source's path and of the frames in it.
        """
        names = self._scores()
        schema = pa.schema([*COLUMNS, *((f"score_{name}", pa.float64()) for name in names)])
        shards = pa.array([name if name in self.packed else None for name in self.numbers], pa.string())
        self._place_sources(more)
        # What is sorted are the rows without what is said of their sources, which is several times as much.
        ordered = self.folder / "ordered.parquet"
        query = self._rows_in_order(names)
        target = str(ordered).replace("'", "''")
        self.db.execute(f"COPY ({query}) TO '{target}' (FORMAT parquet, COMPRESSION lz4)")
        with pq.ParquetFile(ordered) as rows, pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for batch in rows.iter_batches(ROW_GROUP):
                first, last = batch["place"][0].as_py(), batch["place"][-1].as_py()
                told = self.db.sql(f"SELECT * FROM places WHERE place BETWEEN {first} AND {last} ORDER BY place")
                of_sources = told.to_arrow_table().take(pc.subtract(batch["place"], first))
                found = {"shard": shards.take(batch["number"])}
                found |= {name: of_sources[name] for name in OF_SOURCES}
                found |= {name: batch[name] for name in schema.names if name not in found}
                writer.write_table(pa.table(found).select(schema.names).cast(schema))
        ordered.unlink()

    def _scores(self) -> list[str]:
        if not self.files:
            return []
        found = self.db.execute("SELECT DISTINCT unnest(map_keys(scores)) AS name FROM rows ORDER BY name")
        return [name for (name,) in found.fetchall()]

    def _place_sources(self, more: Sequence[Mapping[str, Any]]) -> None:
        """Number the sources, those of the lots and `more`, in the order of their paths."""
        others = pa.Table.from_pylist([dict(row) for row in more], schema=pa.schema(COLUMNS))
        self.db.register("batch", others.append_column("other", pa.array(range(len(more)), pa.int32())))
        self.db.execute("CREATE OR REPLACE TABLE others AS SELECT * FROM batch")
        self.db.unregister("batch")
        told = ", ".join(PROVENANCE)
        self.db.execute(
            "CREATE OR REPLACE TABLE places AS SELECT row_number() OVER (ORDER BY source_path) - 1 AS place, * FROM ("
            f"SELECT sha256 AS source_sha256, path AS source_path, {told}, NULL::INTEGER AS other FROM sources "
            f"UNION ALL SELECT source_sha256, source_path, {told}, other FROM others)"
        )

    def _rows_in_order(self, scores: Sequence[str]) -> str:
        own = [name for name, _ in COLUMNS if name not in OF_SOURCES and name != "shard"]
        empty = "".join(f', NULL::DOUBLE AS "score_{name}"' for name in scores)
        of_others = ", ".join(f"others.{name}" for name in own)
        query = f"SELECT place, NULL::INTEGER AS number, {of_others}{empty} FROM others JOIN places USING (other)"
        if self.files:
            measured = "".join(f", scores['{name}'] AS \"score_{name}\"" for name in scores)
            query = (
                f"SELECT place, number, {', '.join(f'rows.{name}' for name in own)}{measured} FROM rows "
                "JOIN (SELECT source_sha256, place FROM places WHERE other IS NULL) USING (source_sha256) "
                "LEFT JOIN (SELECT key AS member, number FROM planned) ON state = 'kept' AND key = member "
                f"WHERE kind <> 'note' UNION ALL {query}"
            )
        return f"SELECT * FROM ({query}) ORDER BY place, coalesce(start_frame, 0), coalesce(key, '')"

    def notes(self, limit: int) -> list[tuple[str, str]]:
        """(sha256 of a source, what was noted of it)."""
        if not self.files:
            return []
        return list(
            self._stream(
                f"SELECT source_sha256, message FROM rows WHERE kind = 'note' ORDER BY 1, clip_index LIMIT {limit}"
            )
        )
