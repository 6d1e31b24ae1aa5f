"""Taking sources out of `OUT/work` so that the plan and the ledger stay true: what is left is what a run would leave.

Whatever a run would do again for the remaining sources stays committed: the rewritten shards get new records under
the very unit ids that the next run computes for them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.audit.forget_search import Traces
from pipelines.audit.forget_shards import ShardFacts, belongs
from pipelines.engine.atomic import write_whole
from pipelines.engine.ledger import Record, new_run_id
from pipelines.engine.stage import unit_of


@dataclass(frozen=True)
class _AsRecorded:
    """A stage as a record remembers it, so that ids come out as they did."""

    name: str
    version: str
    made_of: dict[str, Any]

    def identity(self) -> dict[str, Any]:
        return self.made_of


def forget_in_plan(work: Path, prefixes: frozenset[str], hashes: frozenset[str]) -> int:
    """Take the lines of the sources and the keys of their samples out of the plans. Returns how many went.

    Shards keep their names, also those that are left empty: the next new shard is numbered after them.
    """
    gone = 0
    for part in sorted((work / "plan" / "sources").glob("[0-9]*.jsonl")):
        gone += _filter_lines(part, hashes)
    gone += _filter_lines(work / "hashes.jsonl", hashes)
    for part in sorted((work / "plan" / "shards").glob("[0-9]*.json")):
        rows = json.loads(part.read_bytes())
        kept = [{**row, "keys": [key for key in row["keys"] if not belongs(key, prefixes)]} for row in rows]
        if kept != rows:
            gone += sum(len(old["keys"]) - len(new["keys"]) for old, new in zip(rows, kept))
            write_whole(part, json.dumps(kept, sort_keys=True, separators=(",", ":")).encode())
    return gone


def _filter_lines(path: Path, hashes: frozenset[str]) -> int:
    if not path.is_file():
        return 0
    lines = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if _hash_in(line) not in hashes]
    if len(kept) != len(lines):
        write_whole(path, b"".join(kept))
    return len(lines) - len(kept)


def _hash_in(line: bytes) -> str | None:
    try:
        return json.loads(line).get("sha256")
    except (ValueError, AttributeError):
        return None


def forget_units(work: Path, traces: Traces) -> int:
    """Remove every record that speaks of the sources, with its attempts and what it wrote. Returns how many went.

    Pack records are left to `forget_shard`. What unfinished attempts wrote goes as well, whoever's it is: nobody can
    tell, and the next run would remove it anyway.
    """
    gone = 0
    committed, kept = set(), set()
    for path in sorted(work.glob("commits/*/??/*.json")):
        data = path.read_bytes()
        if path.parent.parent.name != "pack" and traces.mentions(data.decode("utf-8", "replace")):
            for folder in (work / "units" / path.parent.parent.name / path.stem[:2]).glob(f"{path.stem}.*"):
                shutil.rmtree(folder)
            path.unlink()
            gone += 1
        else:
            committed.add(json.loads(data)["folder"])
            kept.add(path.stem)
    for folder in work.glob("units/*/??/*"):
        if folder.relative_to(work).as_posix() not in committed:
            shutil.rmtree(folder)
    for copies in ("lots", "tables"):  # of what the records say; the next run writes them anew
        shutil.rmtree(work / copies, ignore_errors=True)
    for path in work.glob("attempts/*/??/*"):
        if path.name.partition(".")[0] not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return gone


def records(work: Path, stage: str) -> Iterator[tuple[Path, Record]]:
    """The records of a stage and the files that they lie in, in the order of their ids."""
    for path in sorted(work.glob(f"commits/{stage}/??/*.json")):
        yield path, Record.from_json(path.read_bytes())


def forget_shard(work: Path, name: str, prefixes: frozenset[str], facts: ShardFacts) -> None:
    """Commit the rewritten shard as the next run would, then remove the records that name withdrawn samples."""
    for path, record in list(records(work, "pack")):
        if record.label != name or not any(belongs(key, prefixes) for key in record.inputs["samples"]):
            continue
        samples = {key: value for key, value in record.inputs["samples"].items() if not belongs(key, prefixes)}
        if samples and sorted(samples) == sorted(facts.keys):
            commit_shard(work, record, {**record.inputs, "samples": samples}, facts)
        path.unlink()


def commit_shard(work: Path, old: Record, inputs: Mapping[str, Any], facts: ShardFacts) -> None:
    """Write down a shard that was changed in place, under the unit id of its present inputs."""
    unit = unit_of(_AsRecorded(old.stage, old.version, old.identity), old.label, inputs)
    outcome = replace(old.outcome, info={**old.outcome.info, **vars(facts)}, frames=facts.frames)
    record = replace(old, unit=unit.id, inputs=dict(inputs), outcome=outcome, run=new_run_id())
    write_whole(work / "commits" / old.stage / unit.id[:2] / f"{unit.id}.json", record.to_json())
