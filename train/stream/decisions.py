"""Which samples may be trained on: `decisions.parquet`, a row per key, as the audit writes it.

Columns: key (string), decision ("keep", "drop" or "review"), split (string or null). Only "keep" is read.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

DECISIONS_FILE = "decisions.parquet"
DECISIONS = ("keep", "drop", "review")
DEFAULT_SPLIT = "train"


class BadDecisions(ValueError):
    """A decisions file that cannot be followed."""


@dataclass(frozen=True)
class Decisions:
    """key, decision, split: columns of equal length; keys are unique."""

    key: pa.Array
    decision: pa.Array
    split: pa.Array

    def of(self, keys: list[str]) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
        """(decision, split) of each key; None where there is no row, or no split in it."""
        rows = pc.index_in(pa.array(keys, pa.string()), value_set=self.key)
        return tuple(column.take(rows).to_numpy(zero_copy_only=False) for column in (self.decision, self.split))


def read_decisions(data: bytes, where: str) -> Decisions:
    """Raises `BadDecisions` for a file that is no table, lacks a column, names a key twice or an unknown decision."""
    try:
        table = pq.read_table(io.BytesIO(data))
    except (pa.ArrowException, OSError) as error:
        raise BadDecisions(f"{where} is not a parquet file: {error}; run the audit again") from error
    lacking = {"key", "decision", "split"} - set(table.column_names)
    if lacking:
        found = ", ".join(table.column_names)
        raise BadDecisions(f"{where} lacks the columns {', '.join(sorted(lacking))}; it has {found}")
    key, decision, split = (table[name].combine_chunks().cast(pa.string()) for name in ("key", "decision", "split"))
    unknown = [value for value in pc.unique(decision).to_pylist() if value not in DECISIONS]
    if unknown:
        raise BadDecisions(f"{where}: there is no decision {unknown[0]!r}; there are {', '.join(DECISIONS)}")
    if len(pc.unique(key)) != len(key):
        raise BadDecisions(f"{where} decides on a key twice; run the audit again")
    return Decisions(key, decision, split)
