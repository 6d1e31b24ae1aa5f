"""Two audited versions of a dataset beside each other: clips, decisions, findings, licences, distributions."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import duckdb

from pipelines.audit.conclude import rows_of
from pipelines.audit.schema import CLIPS, PEOPLE, PICTURE, SENSITIVE, SUMMARY, VERSION, audit_folder
from pipelines.settings import BadSettings

BINS = 10
# Shares below this count as this much, so that an empty bin does not make a shift without end.
LEAST = 1e-3
NUMERIC = tuple(
    name for name, kind in (*PEOPLE, *PICTURE, *SENSITIVE) if str(kind) == "float" and name not in ("cut_frame",)
)


def compare_audits(a: Path, b: Path) -> dict[str, Any]:
    """What changed from the audit of `a` to that of `b`. Raises `BadSettings` where one has none of this version.

    clips: added, removed, and every change of outcome, in clips and seconds. findings, licences (hours of kept clips):
    before and after, where they differ. drift: means, and the population stability index over deciles of `a`.
    """
    summaries = [_summary(folder) for folder in (a, b)]
    connection = duckdb.connect()
    for name, folder in (("a", a), ("b", b)):
        path = str(audit_folder(folder) / CLIPS).replace("'", "''")
        connection.execute(f"create view {name} as select * from read_parquet('{path}')")
    clips = rows_of(
        connection,
        """select case when a.key is null then 'added' when b.key is null then 'removed'
                       when a.outcome <> b.outcome then a.outcome || ' -> ' || b.outcome else 'unchanged' end as change,
                  count(*) as clips, coalesce(sum(coalesce(b.seconds, a.seconds)), 0) as seconds
           from (select * from a where key is not null) a
           full join (select * from b where key is not null) b using (key)
           group by all order by all""",
    )
    return {
        "a": str(a),
        "b": str(b),
        "same_rules": summaries[0]["rules"].get("hash") == summaries[1]["rules"].get("hash"),
        "clips": clips,
        "findings": _changed(*({row["name"]: row["clips"] for row in s["findings"]} for s in summaries)),
        "licences": _changed(*(_licences(s) for s in summaries)),
        "drift": [row for column in NUMERIC if (row := _drift(connection, column)) is not None],
    }


def _summary(folder: Path) -> dict[str, Any]:
    path = audit_folder(folder) / SUMMARY
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise BadSettings(f"{path} is missing; run `vividpose audit {folder}` first") from None
    except ValueError as error:
        raise BadSettings(f"{path} is no JSON ({error}); run `vividpose audit {folder}` again") from error
    if summary.get("version") != VERSION:
        raise BadSettings(f"{path} is of version {summary.get('version')}; run `vividpose audit {folder}` again")
    return summary


def _licences(summary: dict[str, Any]) -> dict[str, float]:
    kept = [row for row in summary["licences"] if row["outcome"] == "kept"]
    return {str(row["licence"]): round((row["seconds"] or 0) / 3600, 4) for row in kept}


def _changed(before: dict[str, float], after: dict[str, float]) -> list[dict[str, Any]]:
    names = sorted(set(before) | set(after))
    rows = [{"name": name, "before": before.get(name, 0), "after": after.get(name, 0)} for name in names]
    return [row for row in rows if row["before"] != row["after"]]


def _drift(connection: duckdb.DuckDBPyConnection, column: str) -> dict[str, Any] | None:
    """Means of kept clips and the population stability index, or None where one side has no value."""
    edges = connection.execute(
        f"select quantile_cont({column}::double, [{', '.join(str(k / BINS) for k in range(1, BINS))}]) from a "
        "where outcome = 'kept'"
    ).fetchone()
    if edges is None or edges[0] is None:
        return None
    cuts = sorted(set(edges[0]))
    shares, means = [], []
    for table in ("a", "b"):
        bins = " + ".join(f"({column} > {cut!r})::integer" for cut in cuts)
        counted = dict(
            connection.execute(
                f"select {bins} as bin, count(*) from {table} where outcome = 'kept' and {column} is not null "
                "group by all"
            ).fetchall()
        )
        total = sum(counted.values())
        if not total:
            return None
        shares.append([max(counted.get(k, 0) / total, LEAST) for k in range(len(cuts) + 1)])
        mean = connection.execute(f"select avg({column}) from {table} where outcome = 'kept'").fetchone()
        means.append(float(mean[0]) if mean else math.nan)
    psi = sum((y - x) * math.log(y / x) for x, y in zip(*shares))
    return {"column": column, "before": means[0], "after": means[1], "psi": psi}
