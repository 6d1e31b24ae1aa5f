"""From clips.parquet to what people and programs read first: decisions, the flow, the summary."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb

from pipelines.audit.flow import Invariant, flow_invariants, write_flow
from pipelines.audit.schema import CLIPS, FLOW, SUMMARY, VERSION, audit_folder
from pipelines.engine.atomic import write_whole


@dataclass(frozen=True)
class Check:
    """Whether a check ran, and on how much. reason: why it did not, or did so only in part."""

    name: str
    ran: bool
    clips: int
    of: int
    reason: str | None = None


def rows_of(connection: duckdb.DuckDBPyConnection, query: str, arguments: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """The answer to a query as dictionaries."""
    answer = connection.execute(query, list(arguments))
    names = [column[0] for column in answer.description or ()]
    return [dict(zip(names, row)) for row in answer.fetchall()]


def write_conclusions(
    out: Path,
    connection: duckdb.DuckDBPyConnection,
    *,
    dataset: dict[str, Any] | None = None,
    rules: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
    checks: Sequence[Check] = (),
    invariants: Sequence[Invariant] = (),
    generated: bool = False,
) -> dict[str, Any]:
    """Write flow.parquet and summary.json from clips.parquet, and return the summary."""
    folder = audit_folder(out)
    clips = str(folder / CLIPS)
    links = write_flow(connection, folder / CLIPS, folder / FLOW)
    outcomes = rows_of(
        connection,
        "select outcome, count(*) as rows, coalesce(sum(seconds), 0) as seconds, count(*) - count(seconds) as untimed "
        "from read_parquet(?) group by all order by all",
        [clips],
    )
    kept = sum(row["rows"] for row in outcomes if row["outcome"] == "kept")
    total = {"rows": sum(row["rows"] for row in outcomes), "seconds": sum(row["seconds"] for row in outcomes)}
    held = [*invariants, *flow_invariants(links, total["rows"], total["seconds"], kept)]
    summary = {
        "version": VERSION,
        "generated": generated,
        "dataset": dataset or {},
        "rules": rules or {},
        "options": options or {},
        "totals": total,
        "outcomes": outcomes,
        "licences": rows_of(
            connection,
            "select licence, outcome, count(*) as rows, coalesce(sum(seconds), 0) as seconds from read_parquet(?) "
            "where key is not null group by all order by seconds desc, licence, outcome",
            [clips],
        ),
        "findings": rows_of(
            connection,
            "with flagged as (select unnest(flags) as name, seconds from read_parquet(?)) "
            "select name, count(*) as clips, coalesce(sum(seconds), 0) as seconds from flagged group by all "
            "order by all",
            [clips],
        ),
        "checks": [asdict(check) for check in checks],
        "invariants": [{**asdict(each), "holds": each.holds} for each in held],
        "balanced": all(each.holds for each in held),
    }
    summary = _finite(summary)
    write_whole(folder / SUMMARY, (json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())
    return summary


def _finite(value: Any) -> Any:
    """The same with null for numbers that JSON does not have: a manifest may hold a length that is none."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
