"""The small planted set, made and audited once for all tests that ask it."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import duckdb

from pipelines.audit.planted import SMALL, Truth, plant
from pipelines.audit.run import AuditOptions, run_audit
from pipelines.audit.schema import audit_folder


class Planted:
    """out: the audited dataset. truth: what is in it. summary: of the audit."""

    def __init__(self, out: Path, truth: Truth, summary: dict[str, Any]) -> None:
        self.out, self.truth, self.summary = out, truth, summary

    def copy(self, where: Path) -> Path:
        return Path(shutil.copytree(self.out, where))


def make(out: Path) -> Planted:
    truth = plant(out, SMALL, seed=0)
    # Truth goes through a file, as it does between processes.
    truth = pickle.loads(pickle.dumps(truth))  # noqa: S301 - our own object
    return Planted(out, truth, run_audit(out, AuditOptions()))


def query(out: Path, sql: str, table: str = "clips") -> list[tuple]:
    """Rows of a table of the audit; `t` stands for it."""
    path = out / "decisions.parquet" if table == "decisions" else audit_folder(out) / f"{table}.parquet"
    connection = duckdb.connect()
    connection.execute(f"create view t as select * from read_parquet('{path}')")
    return connection.execute(sql).fetchall()
