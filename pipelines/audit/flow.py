"""The ledger as a flow: where every row of the manifest went, in rows and seconds. Nothing may get lost on the way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from pipelines.audit.schema import FLOW_SCHEMA
from pipelines.engine.atomic import whole_file

# The stages at which a row may end, in the order of the work; the audit is the last of them.
STEPS = ("ingest", "people", "keypoints", "face", "estimate", "body", "render", "quality", "audit")
START, KEPT = "sources", "kept"

_ENDINGS = """
    select case when state = 'kept' then 'audit' else coalesce(stage, 'ingest') end as stage,
           outcome,
           coalesce(case when state = 'kept' then flags[1] else reason end, outcome) as reason,
           count(*) as rows, coalesce(sum(seconds), 0) as seconds, count(*) - count(seconds) as untimed
    from read_parquet(?) group by all order by all
"""


@dataclass(frozen=True)
class Invariant:
    """Two sums that must agree. where: what to look at when they do not."""

    name: str
    expected: float
    found: float
    where: str

    @property
    def holds(self) -> bool:
        return abs(self.expected - self.found) <= 1e-6 * max(1.0, abs(self.expected))


def write_flow(connection: duckdb.DuckDBPyConnection, clips: Path, path: Path) -> list[dict[str, Any]]:
    """Write flow.parquet from clips.parquet and return its rows.

    Each step passes on what did not end there: link (step, from, to) with its rows, seconds, and `untimed`, the rows
    whose length nobody knows (a file that could not be read).
    """
    endings = connection.execute(_ENDINGS, [str(clips)]).fetchall()
    unforeseen = sorted({row[0] for row in endings} - set(STEPS))
    steps = [*STEPS[:-1], *unforeseen, STEPS[-1]]
    rest = [sum(row[k] for row in endings) for k in (3, 4, 5)]
    links: list[dict[str, Any]] = []
    node = START

    def link(number: int, to: str, reason: str | None, amounts: list[Any]) -> None:
        names = ("rows", "seconds", "untimed")
        links.append({"step": number, "from": node, "to": to, "reason": reason, **dict(zip(names, amounts))})

    for number, step in enumerate(steps):
        ended = [row for row in endings if row[0] == step and row[1] != KEPT]
        for _, outcome, reason, *amounts in ended:
            link(number, outcome, reason, amounts)
        rest = [total - sum(row[3 + k] for row in ended) for k, total in enumerate(rest)]
        following = KEPT if step == steps[-1] else f"after {step}"
        link(number, following, None, rest)
        node = following
    with whole_file(path) as temporary:
        pq.write_table(_table(links), temporary)
    return links


def _table(links: list[dict[str, Any]]) -> Any:
    import pyarrow as pa

    return pa.Table.from_pylist(links, schema=FLOW_SCHEMA)


def flow_invariants(links: list[dict[str, Any]], rows: int, seconds: float, kept: int) -> list[Invariant]:
    """What the links must sum to. rows, seconds: of the manifest; kept: clips whose outcome is `kept`."""
    ends = [link for link in links if not link["to"].startswith("after ")]
    last = [link for link in links if link["to"] == KEPT]
    return [
        Invariant("every row of the manifest ends somewhere", rows, sum(e["rows"] for e in ends), "flow.parquet"),
        Invariant("no second is lost on the way", seconds, sum(e["seconds"] for e in ends), "flow.parquet"),
        Invariant("what is left at the end is what is kept", kept, sum(e["rows"] for e in last), "flow.parquet"),
    ]
