"""A split that cannot leak: whatever shares a person, a source or its content goes to the same part."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.audit.identities import Links, number_by_appearance
from pipelines.audit.schema import CLIPS, audit_folder
from pipelines.engine.atomic import whole_file
from pipelines.settings import BadSettings

PARTS = "split.parquet"
PARTS_SCHEMA = pa.schema([("key", pa.string()), ("split", pa.string())])
TIES = {"identity": "identity", "source": "source_sha256", "uploader": "uploader", "near": "near_group",
        "exact": "exact_group"}  # fmt: skip
ALWAYS = ("identity", "source", "near", "exact")


@dataclass(frozen=True)
class Split:
    """How a split came out. rows: per part its name, wanted and found share, clips, seconds, components.

    largest: seconds of the largest component, which no split can divide.
    """

    rows: tuple[dict[str, Any], ...]
    components: int
    largest: float
    identities_known: bool


def read_parts_argument(text: str) -> dict[str, float]:
    """`train=0.9,test=0.1` as a mapping; the shares must sum to 1. Raises `BadSettings`."""
    parts: dict[str, float] = {}
    for piece in text.split(","):
        name, _, share = piece.strip().partition("=")
        try:
            value = float(share)
        except ValueError:
            value = math.nan
        if not name.isidentifier() or name in parts or not 0 < value <= 1:
            raise BadSettings(f"--parts {text!r}: write it as train=0.9,test=0.1 (each name once, shares over 0)")
        parts[name] = value
    if abs(sum(parts.values()) - 1) > 1e-6:
        raise BadSettings(f"--parts {text!r}: the shares sum to {sum(parts.values()):g}, expected 1")
    return parts


def make_split(out: Path, parts: Mapping[str, float], seed: int, ties: Sequence[str] = ALWAYS) -> Split:
    """Assign every clip that is not dropped to a part and write audit/split.parquet.

    ties: what must stay together, of TIES. Components go, largest first, to the part that is furthest below its share
    of the seconds; which of equal ones comes first, the seed says. Raises `BadSettings` before an audit has been made.
    """
    path = audit_folder(out) / CLIPS
    if not path.is_file():
        raise BadSettings(f"{path} is missing; run `vividpose audit {out}` first: a split needs to know who is who")
    columns = [TIES[tie] for tie in ties]
    table = duckdb.connect().sql(
        f"select key, coalesce(seconds, 0) as seconds, identity is not null as known, {', '.join(columns)} "
        "from read_parquet(?) where state = 'kept' and key is not null order by key",
        params=[str(path)],
    ).to_arrow_table()  # fmt: skip
    keys = table["key"].to_pylist()
    component = _components(table, columns)
    seconds = table["seconds"].to_numpy()
    sizes = np.bincount(component, weights=seconds) if len(keys) else np.zeros(0)
    first = {int(c): keys[i] for i, c in reversed(list(enumerate(component.tolist())))}
    order = sorted(range(len(sizes)), key=lambda c: (-sizes[c], _draw(seed, first[c])))
    part_of = _fill(order, sizes, parts)
    names = [part_of[c] for c in component.tolist()]
    with whole_file(audit_folder(out) / PARTS) as temporary:
        pq.write_table(pa.table({"key": keys, "split": pa.array(names, pa.string())}, schema=PARTS_SCHEMA), temporary)
    total = float(seconds.sum()) or 1.0
    rows = []
    for name, wanted in parts.items():
        mine = np.array([n == name for n in names], bool)
        rows.append({"part": name, "wanted": wanted, "found": float(seconds[mine].sum()) / total,
                     "clips": int(mine.sum()), "seconds": float(seconds[mine].sum()),
                     "components": sum(p == name for p in part_of.values())})  # fmt: skip
    known = bool(table["known"].to_numpy(zero_copy_only=False).any())
    return Split(tuple(rows), len(sizes), float(sizes.max(initial=0.0)), known)


def _components(table: pa.Table, columns: Sequence[str]) -> np.ndarray:
    links = Links(len(table))
    for column in columns:
        values = table[column].combine_chunks().dictionary_encode().indices
        codes = values.to_numpy(zero_copy_only=False)
        said = table[column].to_pylist()
        rows = np.array([i for i, value in enumerate(said) if value not in (None, "", "unknown")], np.int64)
        if len(rows):
            _, first, inverse = np.unique(codes[rows].astype(np.int64), return_index=True, return_inverse=True)
            links.add(rows, rows[first][inverse])
    return number_by_appearance(links.labels())


def _draw(seed: int, key: str) -> str:
    return hashlib.sha256(f"{seed}:{key}".encode()).hexdigest()


def _fill(order: Sequence[int], sizes: np.ndarray, parts: Mapping[str, float]) -> dict[int, str]:
    """Give each component to the part that lacks the largest share of what it should have."""
    total = float(sizes.sum()) or 1.0
    filled = dict.fromkeys(parts, 0.0)
    part_of = {}
    for component in order:
        name = max(parts, key=lambda part: (parts[part] - filled[part] / total) / parts[part])
        part_of[component] = name
        filled[name] += float(sizes[component])
    return part_of


def load_parts(connection: duckdb.DuckDBPyConnection, out: Path) -> None:
    """Make the table `parts` (key, split): audit/split.parquet, or no rows where no split has been made."""
    path = audit_folder(out) / PARTS
    connection.execute("create or replace table parts (key varchar, split varchar)")
    if path.is_file():
        try:
            connection.execute(
                "insert into parts select distinct on (key) key, split from read_parquet(?) order by key", [str(path)]
            )
        except duckdb.Error as error:
            told = str(error).splitlines()[0]
            raise BadSettings(f"{path} is no split ({told}): remove it, or make one with `vividpose split`") from error


def take_given_split(out: Path, given: Path) -> int:
    """Take a split that somebody else made: a CSV with the columns key and split. Returns how many clips it names."""
    try:
        text = given.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettings(f"{given} cannot be read: {error}") from error
    with io.StringIO(text, newline="") as stream:
        reader = csv.DictReader(stream)
        if not {"key", "split"} <= set(reader.fieldnames or ()):
            found = ", ".join(reader.fieldnames or ())
            raise BadSettings(f"{given}: expected the columns key and split, found {found}")
        rows = {row["key"]: row["split"] for row in reader if row["key"] and row["split"]}
    table = pa.table({"key": sorted(rows), "split": [rows[key] for key in sorted(rows)]}, schema=PARTS_SCHEMA)
    with whole_file(audit_folder(out) / PARTS) as temporary:
        pq.write_table(table, temporary)
    return len(rows)
