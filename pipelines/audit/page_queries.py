"""What the page shows, asked of the tables of the audit with DuckDB. Every answer is small, whatever the tables' size.

`Tables` is opened once; each method is one chart or list. Columns that a table lacks count as not measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb

from pipelines.audit.page_measures import JOINTS, MEASURES, OUTCOMES, SENSITIVE_COLUMNS, Measure
from pipelines.audit.schema import CLIPS, FLOW, IDENTITIES, PAIRS, audit_folder

BINS = 28
QUANTILES = 21
LEVELS = (*(n / (QUANTILES - 1) for n in range(QUANTILES)), 0.005, 0.995)
Rows = list[dict[str, Any]]


class Tables:
    """The tables under OUT/audit. Raises FileNotFoundError where there has been no audit."""

    def __init__(self, out: Path) -> None:
        folder = audit_folder(out)
        if not (folder / CLIPS).is_file():
            raise FileNotFoundError(f"{folder / CLIPS} is not there: run `vividpose audit {out}` first")
        self.connection = duckdb.connect()
        for name, file in (("clips", CLIPS), ("pairs", PAIRS), ("identities", IDENTITIES), ("flow", FLOW)):
            if (folder / file).is_file():
                path = str(folder / file).replace("'", "''")
                self.connection.execute(f"create view {name} as select * from read_parquet('{path}')")
        self.views = {row[0] for row in self.connection.execute("select view_name from duckdb_views()").fetchall()}
        described = self.connection.execute("describe clips").fetchall()
        self.columns: dict[str, str] = {row[0]: row[1] for row in described}
        self.measures = [measure for measure in MEASURES if measure.column in self.columns]

    def rows(self, query: str, arguments: Sequence[Any] = ()) -> Rows:
        answer = self.connection.execute(query, list(arguments))
        names = [column[0] for column in answer.description or ()]
        return [dict(zip(names, row)) for row in answer.fetchall()]

    def totals(self) -> dict[str, Any]:
        """Rows, clips, sources, people, and seconds by outcome."""
        head = self.rows(
            "select count(*) as rows, count(key) as clips, count(distinct source_sha256) as sources, "
            "count(distinct uploader) filter (uploader <> 'unknown') as uploaders, "
            "count(distinct identity) as people from clips"
        )[0]
        by = self.rows(
            "select outcome, count(*) as rows, coalesce(sum(seconds), 0) as seconds from clips group by all"
        )
        return {**head, "outcomes": sorted(by, key=lambda row: _rank(row["outcome"]))}

    def flow(self) -> Rows:
        return self.rows("select * from flow order by step, rows desc") if "flow" in self.views else []

    def without_clip(self, limit: int = 12) -> Rows:
        """Why sources and spans gave no clip: reason, rows, seconds, one example each."""
        return self.rows(
            "select reason, outcome, count(*) as rows, coalesce(sum(seconds), 0) as seconds, "
            "min(source_path) as example from clips where key is null group by all order by rows desc, reason "
            f"limit {limit}"
        )

    def split_by(self, column: str, limit: int = 12) -> dict[str, Any]:
        """Clips by a text column: rows of (value, seconds by outcome), largest first, the rest in one row."""
        rows = self.rows(
            f"with t as (select coalesce({column}, 'unknown') as value, outcome, count(*) as clips, "
            f"coalesce(sum(seconds), 0) as seconds from clips where key is not null group by all), "
            f"r as (select value, sum(seconds) as total, row_number() over (order by sum(seconds) desc, value) as rank "
            f"from t group by value) "
            f"select case when rank <= {limit} or value = 'unknown' then value end as value, outcome, "
            f"sum(clips)::bigint as clips, sum(seconds) as seconds, count(distinct value) as values "
            f"from t join r using (value) group by all"
        )
        groups: dict[str | None, dict[str, Any]] = {}
        for row in rows:
            group = groups.setdefault(row["value"], {"value": row["value"], "clips": 0, "seconds": 0.0, "parts": {}})
            group["clips"] += row["clips"]
            group["seconds"] += row["seconds"]
            group["parts"][row["outcome"]] = row["seconds"]
            group["values"] = max(group.get("values", 0), row["values"])
        rest = groups.pop(None, None)
        named = sorted(groups.values(), key=lambda group: (group["value"] != "unknown", -group["seconds"]))
        return {"groups": named, "rest": rest}

    def findings(self) -> Rows:
        """Flags with clips and seconds, most frequent first; and what each led to."""
        return self.rows(
            "with f as (select unnest(flags) as name, seconds, decision from clips) "
            "select name, count(*) as clips, coalesce(sum(seconds), 0) as seconds, "
            "count(*) filter (decision = 'drop') as dropped, count(*) filter (decision = 'review') as review "
            "from f group by name order by clips desc, name"
        )

    @cached_property
    def _levels(self) -> dict[str, list[float]]:
        """Per measure that any clip has: its quantiles at `LEVELS`."""
        found = self.numbers([f"quantile_cont({m.column}::double, {list(LEVELS)})" for m in self.measures])
        return {m.column: values for m, values in zip(self.measures, found) if values is not None}

    def quantiles(self) -> dict[str, list[float]]:
        """21 quantiles (0, 5 ... 100 %) of every measure over the clips that have it."""
        return {name: values[:QUANTILES] for name, values in self._levels.items()}

    def histograms(self) -> Rows:
        """Per measure: edges low and high (the middle 99 %), counts of kept and other clips, median, clips measured.

        constant: all clips have the same value.
        """
        found: Rows = []
        for measure in self.measures:
            if measure.column not in self._levels:
                continue
            *levels, low, high = self._levels[measure.column]
            constant = high <= low
            high = low + (abs(low) or 1.0) * 0.01 if constant else high
            median = levels[QUANTILES // 2]
            found.append({"measure": measure, "low": low, "high": high, "median": median, "constant": constant})
        if not found:
            return []
        chunks = []
        for row in found:
            bins = (
                f"least({BINS - 1}, greatest(0, floor(({row['measure'].column} - {row['low']!r}) "
                f"* {BINS} / {row['high'] - row['low']!r})))::int"
            )
            guard = f"when {row['measure'].column} is not null and isfinite({row['measure'].column}::double)"
            chunks.append(f"histogram(case {guard} then {bins} * 2 + (outcome = 'kept')::int end)")
        for row, counts in zip(found, self.numbers(chunks)):
            row["kept"] = [int((counts or {}).get(2 * n + 1, 0)) for n in range(BINS)]
            row["other"] = [int((counts or {}).get(2 * n, 0)) for n in range(BINS)]
            row["clips"] = sum(row["kept"]) + sum(row["other"])
        return found

    def numbers(self, expressions: Sequence[str]) -> tuple[Any, ...]:
        """Aggregates over all clips, in one query."""
        row = self.connection.execute(f"select {', '.join(expressions)} from clips").fetchone()
        assert row is not None, "an aggregate without grouping gives one row"
        return row

    def joints(self) -> list[float] | None:
        """Mean share of frames in which each of the 17 body points is seen, over kept clips."""
        if "joints_seen" not in self.columns:
            return None
        means = ", ".join(f"avg(joints_seen[{n + 1}])" for n in range(len(JOINTS)))
        row = self.connection.execute(f"select {means} from clips where outcome = 'kept'").fetchone()
        return [float(value) for value in row] if row and row[0] is not None else None

    def angles(self, sectors: int = 24) -> list[float] | None:
        """Seconds by view angle of kept clips, in equal sectors that begin at -180 degrees."""
        if "view_angle" not in self.columns:
            return None
        rows = self.connection.execute(
            f"select floor(((view_angle::double + 540) % 360) / {360 / sectors})::int as sector, sum(seconds) "
            "from clips where outcome = 'kept' and view_angle is not null group by 1"
        ).fetchall()
        sums = {int(sector): float(value) for sector, value in rows}
        return [sums.get(n, 0.0) for n in range(sectors)] if sums else None

    def identities(self, limit: int = 40) -> Rows:
        if "identities" not in self.views:
            return []
        return self.rows(f"select * from identities order by leak desc, seconds desc, identity limit {limit}")

    def pairs(self, limit: int = 300) -> tuple[Rows, int]:
        """Pairs of duplicates, leaks between splits first; and how many there are."""
        if "pairs" not in self.views:
            return [], 0
        rows = self.rows(f"select * from pairs order by leak desc, kind, similarity desc, a, b limit {limit}")
        total = self.connection.execute("select count(*) from pairs").fetchone()
        return rows, int(total[0]) if total else 0

    def leaks(self) -> dict[str, int]:
        """Clips by kind of leak between the splits."""
        kinds = [name for name in self.columns if name.endswith("_leak")]
        if not kinds:
            return {}
        counts = self.numbers([f"count(*) filter ({name})" for name in kinds])
        return {name.removesuffix("_leak"): int(count) for name, count in zip(kinds, counts)}

    def worst(self, each: int = 8) -> dict[str, list[str]]:
        """Keys of the clips at the bad end of each measure, among those that came to the audit."""
        found = {}
        for measure in self.measures:
            keys = self._worst(measure, each) if measure.bad != "none" else []
            if keys:
                found[measure.column] = keys
        return found

    def _worst(self, measure: Measure, each: int) -> list[str]:
        order = "desc" if measure.bad == "high" else "asc"
        rows = self.connection.execute(
            f"select key from clips where state = 'kept' and {measure.column} is not null "
            f"and isfinite({measure.column}::double) order by {measure.column} {order}, key limit {each}"
        ).fetchall()
        return [row[0] for row in rows]

    def sensitive(self) -> list[str]:
        """Keys of clips that a rule on a possible minor or on nudity fired for: no picture of them is shown."""
        if "reasons" not in self.columns:
            return []
        names = ", ".join(f"'{name}'" for name in SENSITIVE_COLUMNS)
        rows = self.connection.execute(
            "with r as (select key, unnest(reasons) as reason from clips where key is not null) "
            f"select distinct key from r where reason.\"column\" in ({names}) order by key"
        ).fetchall()
        return [row[0] for row in rows]

    def clips(self, columns: Sequence[str], limit: int, wanted: Sequence[str]) -> tuple[dict[str, list[Any]], int]:
        """Columns of the clips that the page holds, and how many there are in all.

        All of them where they are at most `limit`; else those in `wanted`, then an even sample by the hash of the key.
        """
        total = self.connection.execute("select count(*) from clips where key is not null").fetchone()
        names = ", ".join(f'"{name}"' for name in columns)
        if total is None or total[0] <= limit:
            answer = self.connection.execute(f"select {names} from clips where key is not null order by key")
        else:
            self.connection.execute("create or replace temp table wanted (key varchar)")
            self.connection.execute("insert into wanted select unnest(?)", [list(wanted)])
            answer = self.connection.execute(
                f"with chosen as (select key from clips left join wanted w using (key) where key is not null "
                f"order by (w.key is null), hash(key) limit {limit}) "
                f"select {names} from clips semi join chosen using (key) order by key"
            )
        rows = answer.fetchall()
        return {name: [row[i] for row in rows] for i, name in enumerate(columns)}, int(total[0]) if total else 0


def _rank(outcome: str) -> tuple[int, str]:
    return (OUTCOMES.index(outcome) if outcome in OUTCOMES else len(OUTCOMES), outcome)

