"""What only shows when clips are compared: duplicates, people, benchmarks, and what a split lets leak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.audit.duplicates import find_near
from pipelines.audit.fingerprint import LENGTH, SAMPLES
from pipelines.audit.identities import SAME_PERSON, Links, cluster, number_by_appearance
from pipelines.audit.schema import IDENTITIES_SCHEMA, PAIRS_SCHEMA
from pipelines.engine.atomic import whole_file
from pipelines.settings import BadSettings

BENCHMARK_COLUMNS = ("key", "seconds", "frame", "person", "video_sha256", "frames_sha256")


@dataclass(frozen=True)
class People:
    """How the search for the same person went: clips with a face vector, and the recognisers that made them."""

    clips: int
    models: tuple[str, ...]


def relate(connection: duckdb.DuckDBPyConnection, benchmarks: Sequence[Path]) -> People:
    """Make the tables `pairs` and `relations` (key, identity, groups and ranks, benchmark) and `identities`.

    Needs `base` (clips with their measures), `prints` (fingerprints) and `parts` (key, split).
    """
    _load_benchmarks(connection, benchmarks)
    connection.execute(
        """create or replace table everything as
           select key, seconds, frame, person from prints union all
           select key, seconds, frame, person from benchmark_prints"""
    )
    near = find_near(connection, "everything")
    connection.register("near", near)
    connection.execute(_EXACT)
    connection.execute(_PAIRS)
    connection.unregister("near")
    people = _identities(connection)
    _groups(connection)
    return people


_EXACT = """
    create or replace table same as
    with ours as (select key, video_sha256, frames_sha256 from base where video_sha256 is not null
                  union all select key, video_sha256, frames_sha256 from benchmark_prints),
         files as (select min(key) as a, video_sha256 from ours group by video_sha256 having count(*) > 1),
         frames as (select min(key) as a, frames_sha256 from ours group by frames_sha256
                    having count(distinct video_sha256) > 1)
    select distinct on (a, b) a, b, kind from (
        select files.a, ours.key as b, 'same_file' as kind from files join ours using (video_sha256) where a <> key
        union all
        select frames.a, ours.key as b, 'same_frames' as kind from frames join ours using (frames_sha256) where a <> key
    ) order by a, b, kind
"""
# Where a pair has one clip of a benchmark, that one is b and the kind is "benchmark"; pairs within benchmarks go.
_PAIRS = """
    create or replace table pairs as
    with found as (
        select a, b, kind, 1.0::float as similarity, 1.0::float as overlap, false as mirrored, 1.0::float as speed
        from same
        union all
        select a, b, 'near', similarity, overlap, mirrored, speed from near
        where not exists (select 1 from same s where s.a = near.a and s.b = near.b)
    ), turned as (
        select case when starts_with(a, 'benchmark:') then b else a end as a,
               case when starts_with(a, 'benchmark:') then a else b end as b,
               kind, similarity, overlap, mirrored,
               case when starts_with(a, 'benchmark:') then (1 / greatest(speed, 1e-3))::float else speed end as speed
        from found where not (starts_with(a, 'benchmark:') and starts_with(b, 'benchmark:'))
    )
    select t.a, t.b, case when starts_with(t.b, 'benchmark:') then 'benchmark' else t.kind end as kind,
           t.similarity, t.overlap, t.mirrored, t.speed,
           coalesce(x.source_sha256 = y.source_sha256, false) as same_source,
           coalesce(x.uploader = y.uploader and x.uploader <> 'unknown', false) as same_uploader,
           p.split as split_a, q.split as split_b, coalesce(p.split <> q.split, false) as leak
    from turned t join base x on x.key = t.a left join base y on y.key = t.b
    left join parts p on p.key = t.a left join parts q on q.key = t.b
    order by t.a, t.b
"""


def _load_benchmarks(connection: duckdb.DuckDBPyConnection, paths: Sequence[Path]) -> None:
    connection.execute(
        "create or replace table benchmark_prints as select key, seconds, frame, person, "
        "null::varchar as video_sha256, null::varchar as frames_sha256 from prints limit 0"
    )
    for path in paths:
        try:
            found = set(pq.read_schema(path).names)
        except (OSError, pa.ArrowInvalid) as error:
            raise BadSettings(f"--benchmark-hashes {path} is no Parquet file that can be read: {error}") from error
        missing = sorted(set(BENCHMARK_COLUMNS) - found)
        if missing:
            raise BadSettings(
                f"--benchmark-hashes {path} lacks {', '.join(missing)}; expected the audit/fingerprints.parquet of the "
                "benchmark's videos, made with `vividpose shards` and `vividpose audit`"
            )
        whole = SAMPLES * LENGTH
        others = connection.execute(
            "select count(*) from read_parquet(?) where octet_length(frame) <> ? or octet_length(person) <> ? "
            "or frame is null or person is null or key is null or seconds is null",
            [str(path), whole, whole],
        ).fetchall()[0][0]
        if others:
            raise BadSettings(
                f"--benchmark-hashes {path}: {others} fingerprints are damaged or of another version of this software; "
                "audit the benchmark again"
            )
        connection.execute(
            "insert into benchmark_prints select 'benchmark:' || ? || '#' || key, seconds, frame, person, "
            "video_sha256, frames_sha256 from read_parquet(?)",
            [path.name, str(path)],
        )


def _identities(connection: duckdb.DuckDBPyConnection) -> People:
    """Clusters of faces, recogniser by recogniser: vectors of two of them do not compare."""
    rows = connection.execute(
        "select key, face, face_model from prints where face is not null order by key"
    ).fetchall()
    keys: list[str] = []
    numbers: list[int] = []
    cohesions: list[float] = []
    models = tuple(sorted({row[2] for row in rows}))
    for model in models:
        chosen = [(key, face) for key, face, made_by in rows if made_by == model]
        vectors = np.frombuffer(b"".join(face for _, face in chosen), np.float16).reshape(len(chosen), -1)
        units = vectors.astype(np.float32)
        units /= np.maximum(np.linalg.norm(units, axis=1, keepdims=True), 1e-6)
        labels = cluster(units, SAME_PERSON)
        keys += [key for key, _ in chosen]
        cohesions += _cohesion(units, labels).tolist()
        numbers += (labels + max(numbers, default=-1) + 1).tolist()
    table = pa.table({"key": pa.array(keys, pa.string()), "identity": pa.array(numbers, pa.int64()),
                      "cosine": pa.array(cohesions, pa.float32())})  # fmt: skip
    connection.register("clustered", table)
    connection.execute("create or replace table persons as select * from clustered")
    connection.unregister("clustered")
    connection.execute(
        """create or replace table identities as
           select i.identity, count(*) as clips, coalesce(sum(b.seconds), 0) as seconds,
                  count(distinct b.source_sha256) as sources, count(distinct b.uploader) as uploaders,
                  coalesce(list(distinct p.split order by p.split) filter (p.split is not null), []) as splits,
                  count(distinct p.split) > 1 as leak, avg(i.cosine)::float as cohesion,
                  any_value(b.face_model) as model, arg_max(i.key, i.cosine) as example
           from persons i join base b using (key) left join parts p using (key)
           group by i.identity order by i.identity"""
    )
    return People(len(keys), models)


def _cohesion(units: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """(N,) cosine of each vector to the mean of its cluster."""
    sums = np.zeros((int(labels.max(initial=-1)) + 1, units.shape[1]), np.float32)
    np.add.at(sums, labels, units)
    sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-6)
    return np.asarray((units * sums[labels]).sum(1), np.float32)


def _groups(connection: duckdb.DuckDBPyConnection) -> None:
    """Numbers for groups of duplicates, and each clip's rank in them: the best one first."""
    for name, kinds in (("exact", "('same_file', 'same_frames')"), ("near", "('same_file', 'same_frames', 'near')")):
        pairs = connection.execute(f"select a, b from pairs where kind in {kinds} order by a, b").fetchnumpy()
        keys, inverse = np.unique(np.concatenate([pairs["a"], pairs["b"]]).astype(str), return_inverse=True)
        links = Links(len(keys))
        links.add(inverse[: len(pairs["a"])], inverse[len(pairs["a"]) :])
        table = pa.table({"key": pa.array(keys.tolist(), pa.string()),
                          "number": pa.array(number_by_appearance(links.labels()), pa.int64())})  # fmt: skip
        connection.register("grouped", table)
        connection.execute(
            f"create or replace table {name}_groups as select key, number, row_number() over (partition by number "
            "order by width * height desc, frames desc, bits_per_pixel desc, key) - 1 as rank "
            "from grouped join base using (key)"
        )
        connection.unregister("grouped")
    connection.execute(_RELATIONS)


def _leak(alias: str, column: str, source: str = "") -> str:
    table = source or f"(select b.key, b.{column} as value, b.state from base b)"
    return f"""{alias} as (
        select v.value from {table} v join parts p on p.key = v.key
        where v.value is not null and v.value::varchar not in ('', 'unknown')
        group by v.value having count(distinct p.split) > 1)"""


_RELATIONS = f"""
    create or replace table relations as
    with {_leak("sources", "source_sha256")}, {_leak("uploaders", "uploader")},
         {_leak("faces", "", "(select key, identity as value from persons)")},
         {_leak("exacts", "", "(select key, number as value from exact_groups)")},
         {_leak("nears", "", "(select key, number as value from near_groups)")},
         tests as (select a as key, min(b) as benchmark from pairs where kind = 'benchmark' group by a)
    select b.key, i.identity, e.number as exact_group, e.rank as exact_rank,
           n.number as near_group, n.rank as near_rank, t.benchmark, p.split,
           p.split is not null and i.identity in (select value from faces) as identity_leak,
           p.split is not null and b.source_sha256 in (select value from sources) as source_leak,
           p.split is not null and b.uploader in (select value from uploaders) as uploader_leak,
           p.split is not null and e.number in (select value from exacts) as exact_leak,
           p.split is not null and n.number in (select value from nears) as near_leak
    from base b left join persons i using (key)
    left join exact_groups e using (key) left join near_groups n using (key)
    left join tests t using (key) left join parts p using (key)
    where b.key is not null and b.state = 'kept'
"""


def write_table(connection: duckdb.DuckDBPyConnection, query: str, path: Path, schema: pa.Schema) -> None:
    """Write a query's answer, cast to the schema, as Parquet, batch by batch."""
    reader = connection.cursor().sql(query).to_arrow_reader(100_000)
    with whole_file(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_table(pa.Table.from_batches([batch]).select(schema.names).cast(schema))


def write_relations(connection: duckdb.DuckDBPyConnection, pairs: Path, identities: Path) -> None:
    write_table(connection, "select * from pairs order by a, b", pairs, PAIRS_SCHEMA)
    write_table(connection, "select * from identities order by identity", identities, IDENTITIES_SCHEMA)

