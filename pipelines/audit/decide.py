"""Rules and people's own decisions, laid over what was measured: clips.parquet and decisions.parquet."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from pipelines.audit.relations import write_table
from pipelines.audit.rules import Rules
from pipelines.audit.schema import CLIPS_COLUMNS, DECISIONS_SCHEMA, SEVERITY, clips_schema
from pipelines.settings import BadSettings

MANUAL_SCHEMA = pa.schema([(name, pa.string()) for name in ("key", "decision", "why", "by", "at")])
MAX_LINE = 100_000


def read_manual(path: Path) -> pa.Table:
    """The decision of a person for each key that has one: the last line counts, null withdraws.

    Raises `BadSettings` with the line where the file is not as `docs/audit.md` says: a decision must not get lost.
    """
    last: dict[str, dict[str, str]] = {}
    if path.is_file():
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    said = _manual_line(path, number, line)
                    last.pop(said["key"], None)
                    if said["decision"] is not None:
                        last[said["key"]] = {name: str(said.get(name) or "") for name in MANUAL_SCHEMA.names}
    return pa.Table.from_pylist([last[key] for key in sorted(last)], schema=MANUAL_SCHEMA)


def _manual_line(path: Path, number: int, line: str) -> dict:
    try:
        said = json.loads(line) if len(line) <= MAX_LINE else None
    except (ValueError, RecursionError) as error:
        raise BadSettings(f"{path}: line {number} is no JSON: {error}") from error
    if not isinstance(said, dict) or not isinstance(said.get("key"), str) or not said["key"]:
        raise BadSettings(f"{path}: line {number} should be an object with a key and a decision")
    if "decision" not in said or not (said["decision"] is None or said["decision"] in SEVERITY):
        raise BadSettings(f"{path}: line {number}: decision should be {', '.join(SEVERITY)} or null")
    return said


def make_clips(connection: duckdb.DuckDBPyConnection, rules: Rules, manual: pa.Table) -> None:
    """Make the table `clips` from `base` and `relations`: flags, reasons, decision, outcome."""
    connection.register("manual_now", manual)
    connection.execute("create or replace table manual as select * from manual_now")
    connection.unregister("manual_now")
    known = {name for name, _ in connection.execute("select name, type from pragma_table_info('base')").fetchall()}
    related = [name for name, _ in CLIPS_COLUMNS if name not in known and name not in _VERDICT]
    connection.execute(
        f"""create or replace table clips as
        with together as (
            select b.*, {", ".join(f"r.{name}" for name in related)}
            from base b left join relations r on r.key = b.key and b.state = 'kept'
        ), judged as (
            select *, case when state = 'kept' then {rules.reasons()} end as reasons from together
        ), ruled as (
            select *, list_transform(reasons, lambda r: r.rule) as flags,
                   case when state <> 'kept' then null
                        when list_contains(list_transform(reasons, lambda r: r.decision), 'drop') then 'drop'
                        when list_contains(list_transform(reasons, lambda r: r.decision), 'review') then 'review'
                        else 'keep' end as ruling
            from judged
        )
        select ruled.* exclude (ruling),
               case when state = 'kept' then coalesce(manual.decision, ruling) end as decision,
               case when state = 'kept' then coalesce(manual.by, ?) end as decided_by,
               case when state <> 'kept' then state
                    when coalesce(manual.decision, ruling) = 'keep' then 'kept'
                    when coalesce(manual.decision, ruling) = 'drop' then 'dropped' else 'review' end as outcome
        from ruled left join manual on manual.key = ruled.key order by place""",
        [rules.signature],
    )


_VERDICT = ("flags", "reasons", "decision", "decided_by", "outcome")


def write_clips(connection: duckdb.DuckDBPyConnection, path: Path, scores: tuple[str, ...]) -> None:
    schema = clips_schema(scores)
    names = ", ".join(f'"{name}"' for name in schema.names)
    write_table(connection, f"select {names} from clips order by place", path, schema)


def write_decisions(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Write decisions.parquet. A decision that stands keeps its time, so that an audit without news changes nothing."""
    connection.register("earlier", _earlier(path))
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    connection.execute(
        """create or replace table decisions as
        with made as (
            select distinct on (c.key) c.key, c.decision, c.split,
                   case when m.key is not null then [m.why] else
                       list_transform(c.reasons, lambda r: r.rule || ': ' || r."column" || ' is ' || r.value || ', '
                                      || r.decision || ' ' || r.threshold) end as reasons,
                   c.decided_by as by, m.at as said
            from clips c left join manual m using (key)
            where c.state = 'kept' and c.key is not null order by c.key
        )
        select made.* exclude (said),
               coalesce(made.said, case when e.decision = made.decision and e.by = made.by and e.reasons = made.reasons
                                         and e.split is not distinct from made.split then e.at end, ?) as at
        from made left join earlier e using (key) order by made.key""",
        [now],
    )
    connection.unregister("earlier")
    write_table(connection, "select * from decisions order by key", path, DECISIONS_SCHEMA)


def _earlier(path: Path) -> pa.Table:
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path, schema=DECISIONS_SCHEMA)
    except (FileNotFoundError, pa.ArrowInvalid, pa.ArrowTypeError):
        return DECISIONS_SCHEMA.empty_table()
