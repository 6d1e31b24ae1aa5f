"""The manifest joined with what was measured: the table `base` that everything after it asks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.audit.flow import Invariant
from pipelines.audit.schema import MANIFEST, PEOPLE, PICTURE, SENSITIVE

_SCORE = re.compile(r"score_[A-Za-z0-9_]{1,80}")
STATES = ("kept", "dropped", "quarantined", "failed")


class NotADataset(ValueError):
    """The folder has no dataset that can be audited: what is missing, and what makes it."""


@dataclass(frozen=True)
class Dataset:
    """An output folder of `vividpose shards`. facts: dataset.json. scores: the score columns of the manifest."""

    out: Path
    facts: dict[str, Any]
    scores: tuple[str, ...]

    @property
    def manifest(self) -> Path:
        return self.out / "manifest.parquet"

    @property
    def shards(self) -> list[dict[str, Any]]:
        return self.facts["shards"]


def open_dataset(out: Path) -> Dataset:
    """Raises `NotADataset`. Shard names from dataset.json must be plain file names: they become paths."""
    try:
        facts = json.loads((out / "dataset.json").read_text(encoding="utf-8"))
        shards = facts["shards"]
        for shard in shards:
            name = shard["name"]
            if not isinstance(name, str) or Path(name).name != name or name in ("", ".", ".."):
                raise NotADataset(f"{out / 'dataset.json'} names a shard {name!r}, which is no plain file name")
            _ = shard["sha256"], int(shard["samples"]), int(shard["bytes"])
        schema = pq.read_schema(out / "manifest.parquet")
    except FileNotFoundError as error:
        raise NotADataset(f"{error.filename} is missing; `vividpose shards SRC --out {out}` makes a dataset") from None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, OSError, pa.ArrowInvalid) as error:
        raise NotADataset(
            f"{out}: dataset.json or manifest.parquet cannot be read ({type(error).__name__}: {error}); run "
            "`vividpose shards` again"
        ) from error
    missing = [name for name, _ in MANIFEST if name not in schema.names]
    if missing:
        raise NotADataset(f"{out / 'manifest.parquet'} lacks the columns {', '.join(missing)}; run `vividpose shards`")
    # A column's name becomes SQL: one that the packer would not write is left out.
    return Dataset(out, facts, tuple(sorted(name for name in schema.names if _SCORE.fullmatch(name))))


def make_base(
    connection: duckdb.DuckDBPyConnection, dataset: Dataset, measures: Mapping[str, Sequence[Path]]
) -> list[Invariant]:
    """Make the table `base`: every row of the manifest, in its order (`place`), with the measures of kept clips.

    measures: the Parquet files of each group. A clip that no shard holds is corrupt. Returns what must agree.
    """
    columns = ", ".join(f'"{name}"::{_SQL[kind]} as "{name}"' for name, kind in MANIFEST)
    scores = "".join(f', "{name}"::double as "{name}"' for name in dataset.scores)
    try:
        connection.execute(
            f"create or replace table manifest as select row_number() over () as place, {columns}{scores} "
            "from read_parquet(?)",
            [str(dataset.manifest)],
        )
    except duckdb.Error as error:
        told = str(error).splitlines()[0]
        raise NotADataset(f"{dataset.manifest} cannot be read ({told}); run `vividpose shards` again") from error
    joins, taken = [], []
    empty: dict[str, Any] = {"people": PEOPLE, "picture": (("corrupt", pa.string()), *PICTURE), "sensitive": SENSITIVE}
    for group, group_columns in empty.items():
        _load(connection, group, group_columns, measures.get(group, ()))
        joins.append(f"left join one_{group} {group} on {group}.key = m.key and m.state = 'kept'")
        taken += [f'{group}."{name}"' for name, _ in group_columns if name != "corrupt"]
    connection.execute(
        f"""create or replace table base as
            select m.*, {", ".join(taken)},
                   case when m.state = 'kept' then
                       coalesce(people.corrupt, picture.corrupt, case when people.key is null then
                       'the shard does not hold it' end) end as corrupt
            from manifest m {" ".join(joins)} order by place"""
    )
    return _invariants(connection, dataset)


def _load(
    connection: duckdb.DuckDBPyConnection,
    group: str,
    columns: tuple[tuple[str, pa.DataType], ...],
    paths: Sequence[Path],
) -> None:
    if paths:
        connection.execute(
            f"create or replace view all_{group} as select * from read_parquet({_list(paths)}, union_by_name=true)"
        )
    else:
        schema = pa.schema([("key", pa.string()), *columns])
        connection.register(f"none_{group}", schema.empty_table())
        connection.execute(f"create or replace table all_{group} as select * from none_{group}")
    connection.execute(
        f"create or replace table one_{group} as select distinct on (key) * from all_{group} order by key"
    )


def _list(paths: Sequence[Path]) -> str:
    return "[" + ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths) + "]"


def make_prints(connection: duckdb.DuckDBPyConnection, paths: Sequence[Path]) -> None:
    """Make the table `prints`: fingerprints of the clips that are kept and whole, with the hashes of their content."""
    if paths:
        source = f"read_parquet({_list(paths)}, union_by_name=true)"
    else:
        source = "(select null::varchar as key, null::double as seconds, null::blob as frame, null::blob as person, " \
                 "null::blob as face, null::varchar as face_model limit 0)"  # fmt: skip
    connection.execute(
        f"create or replace table prints as select distinct on (p.key) p.*, b.video_sha256, b.frames_sha256 "
        f"from {source} p join base b on b.key = p.key and b.state = 'kept' and b.corrupt is null order by p.key"
    )


def _invariants(connection: duckdb.DuckDBPyConnection, dataset: Dataset) -> list[Invariant]:
    def one(query: str) -> float:
        answer = connection.execute(query).fetchone()
        return float(answer[0] or 0) if answer else 0.0

    shards = dataset.shards
    listed = "(" + ", ".join("'" + row["name"].replace("'", "''") + "'" for row in shards) + ")" if shards else "('')"
    kept = one("select count(*) from manifest where state = 'kept'")
    states = ", ".join(f"'{state}'" for state in STATES)
    sums = ("dataset.json", "shards", "samples")
    return [
        Invariant("rows of the manifest have a known state", one("select count(*) from manifest"),
                  one(f"select count(*) from manifest where state in ({states})"), "manifest.parquet, column state"),
        Invariant("keys are unique", one("select count(key) from manifest"),
                  one("select count(distinct key) from manifest"), "manifest.parquet, column key"),
        Invariant("kept clips are the samples that dataset.json counts", kept,
                  sum(int(row["samples"]) for row in shards), " and ".join(("manifest.parquet", sums[0]))),
        Invariant("dataset.json counts what its shards count", float(dataset.facts.get("samples", -1)),
                  sum(int(row["samples"]) for row in shards), "dataset.json"),
        Invariant("kept frames are those that dataset.json counts",
                  one("select coalesce(sum(frames), 0) from manifest where state = 'kept'"),
                  float(dataset.facts.get("frames", -1)), "manifest.parquet and dataset.json"),
        Invariant("every kept clip is in a listed shard", kept,
                  one(f"select count(*) from manifest where state = 'kept' and shard in {listed}"),
                  "manifest.parquet, column shard"),
        Invariant("kept clips have frames, a rate and a length that agree", kept,
                  one("select count(*) from manifest where state = 'kept' and key is not null and frames > 0 "
                      "and fps > 0 and abs(seconds * fps - frames) < 0.5"), "manifest.parquet"),
        Invariant("no length is negative or no number", 0.0,
                  one("select count(*) from manifest where seconds < 0 or isnan(seconds) or isinf(seconds)"),
                  "manifest.parquet, column seconds"),
        Invariant("samples in the shards are the kept clips", kept,
                  one("select count(*) from manifest m join one_people p on p.key = m.key where m.state = 'kept'"),
                  "the shards"),
        Invariant("the shards hold nothing else", 0.0,
                  one("select count(*) from one_people p where not exists "
                      "(select 1 from manifest m where m.key = p.key and m.state = 'kept')"), "the shards"),
        Invariant("no sample is in two shards", one("select count(*) from all_people"),
                  one("select count(*) from one_people"), "the shards"),
    ]  # fmt: skip


_SQL = {pa.string(): "varchar", pa.int64(): "bigint", pa.float64(): "double"}
