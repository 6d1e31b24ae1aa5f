"""`vividpose audit`: measure what is new, compare, decide, and write the tables."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from pipelines.annotate.checksums import weight_digest
from pipelines.audit.base import Dataset, make_base, make_prints, open_dataset
from pipelines.audit.conclude import Check, write_conclusions
from pipelines.audit.decide import make_clips, read_manual, write_clips, write_decisions
from pipelines.audit.flow import Invariant
from pipelines.audit.measure import LEAST_PERSON, Measuring
from pipelines.audit.relations import People, relate, write_relations, write_table
from pipelines.audit.rules import DEFAULT_RULES, read_rules
from pipelines.audit.schema import (
    CLIPS,
    CLIPS_COLUMNS,
    DECISIONS,
    FINGERPRINTS,
    FINGERPRINTS_SCHEMA,
    IDENTITIES,
    MANUAL,
    PAIRS,
    SUMMARY,
    audit_folder,
)
from pipelines.audit.shards import FINGERPRINTS as PRINTS_FILE
from pipelines.audit.shards import MEASURES, ShardWorker, stages_of
from pipelines.audit.split import load_parts
from pipelines.engine.atomic import DiskFull
from pipelines.engine.executors import EXECUTORS, MESSAGE, STOP, Pool
from pipelines.engine.ledger import Ledger, new_run_id
from pipelines.engine.run_lock import only_run
from pipelines.engine.setup_error import SetupError
from pipelines.engine.storage import open_store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AuditOptions:
    """rules: a rule file. benchmarks: fingerprint files of test sets. classifier: `package.module:name` or None."""

    rules: Path = DEFAULT_RULES
    executor: str = "inline"
    benchmarks: tuple[Path, ...] = ()
    classifier: str | None = None

    @classmethod
    def of_last(cls, out: Path) -> AuditOptions:
        """The options of the last audit, so that what follows from it (a split) does not undo them."""
        try:
            said = json.loads((audit_folder(out) / SUMMARY).read_text(encoding="utf-8"))["options"]
            return cls(Path(said["rules"]), said["executor"], tuple(map(Path, said["benchmarks"])), said["classifier"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return cls()

    def told(self) -> dict[str, Any]:
        return {"rules": str(self.rules.absolute()), "executor": self.executor, "classifier": self.classifier,
                "benchmarks": [str(path.absolute()) for path in self.benchmarks]}  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """Where the measures of each group lie, what could not be read, and what the shards must agree with."""

    paths: dict[str, list[Path]]
    prints: list[Path]
    problems: list[str]
    invariants: list[Invariant]


def run_audit(
    out: Path, options: AuditOptions = AuditOptions(), progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Audit the dataset under `out`; returns the summary that is also written. progress: (shards done, shards).

    Raises `NotADataset`, `BadSettings`, `Busy`, `DiskFull`, `SetupError`.
    """
    out = Path(out).absolute()
    dataset = open_dataset(out)
    folder = audit_folder(out)
    manual = read_manual(folder / MANUAL)
    with only_run(open_store(folder / "work")):
        connection = connect(folder / "work")
        # A wrong rule file is told before hours of measuring.
        kinds = {name: _SQL_KINDS.get(str(kind), "[]") for name, kind in CLIPS_COLUMNS}
        kinds |= dict.fromkeys(dataset.scores, "DOUBLE")
        rules = read_rules(options.rules, kinds)
        measured = measure_shards(dataset, options, progress)
        invariants = [*measured.invariants, *make_base(connection, dataset, measured.paths)]
        make_prints(connection, measured.prints)
        load_parts(connection, out)
        people = relate(connection, options.benchmarks)
        make_clips(connection, rules, manual)
        write_clips(connection, folder / CLIPS, dataset.scores)
        write_relations(connection, folder / PAIRS, folder / IDENTITIES)
        write_table(connection, "select * from prints order by key", folder / FINGERPRINTS, FINGERPRINTS_SCHEMA)
        write_decisions(connection, out / DECISIONS)
        return write_conclusions(
            out,
            connection,
            dataset={k: dataset.facts.get(k) for k in ("hash", "samples", "frames", "bytes")}
            | {"shards": len(dataset.shards), "problems": measured.problems},
            rules=rules.told(),
            options=options.told(),
            checks=checks_of(connection, options, people),
            invariants=invariants,
        )


def connect(work: Path) -> duckdb.DuckDBPyConnection:
    """A database in memory that spills into the work folder."""
    connection = duckdb.connect()
    connection.execute("set temp_directory = ?", [str(work / "spill")])
    return connection


_SQL_KINDS = {"string": "VARCHAR", "int64": "BIGINT", "float": "FLOAT", "double": "DOUBLE", "bool": "BOOLEAN"}


def measuring_of(options: AuditOptions) -> Measuring:
    """With which body files: the one that ships and the user's, if there is one."""
    from pipelines.annotate.choice import choose
    from pipelines.body.body_file import FREE_BODY

    paths = {FREE_BODY, next(choice.files[0] for choice in choose("auto") if choice.role == "body")}
    return Measuring(tuple(sorted((weight_digest(path), str(path)) for path in paths)), options.classifier)


def measure_shards(
    dataset: Dataset, options: AuditOptions, progress: Callable[[int, int], None] | None = None
) -> Measured:
    """Measure every shard that has no record yet. A shard that is missing or unreadable is told, and ends nothing."""
    work = audit_folder(dataset.out) / "work"
    measuring = measuring_of(options)
    stages = stages_of(measuring)
    if options.classifier:
        _ = [stage.identity() for stage in stages]
    ledger = Ledger(work)
    ledger.sweep()
    problems: list[str] = []
    rows = []
    for shard in dataset.shards:
        path = dataset.out / "shards" / shard["name"]
        if path.is_file():
            rows.append({"shard": shard["name"], "path": str(path), "label": shard["name"]})
        else:
            problems.append(f"{shard['name']} is missing")
    pool = Pool("audit", partial(ShardWorker, work, new_run_id(), measuring))
    digests: dict[str, str] = {}
    for done, row in enumerate(EXECUTORS[options.executor](rows, [pool]) if rows else ()):
        if row.get(STOP) == "disk_full":
            raise DiskFull(row[MESSAGE])
        if row.get(STOP) == "setup":
            raise SetupError(row[MESSAGE])
        if row.get(STOP):
            problems.append(f"{row['shard']} could not be measured: {row[MESSAGE]}")
            log.warning("%s", problems[-1])
        else:
            digests[row["shard"]] = row["sha256"]
        if progress:
            progress(done + 1, len(rows))
    paths: dict[str, list[Path]] = {stage.group: [] for stage in stages}
    prints = []
    for shard in dataset.shards:
        for stage in stages if shard["name"] in digests else ():
            record = ledger.record(stage.name, stage.unit(shard["name"], digests[shard["name"]]).id)
            assert record is not None, "a row that came back without a note has its records"
            folder = ledger.folder_of(record)
            paths[stage.group].append(folder / MEASURES)
            if stage.group == "people":
                problems += [f"{shard['name']}: {note}" for note in record.outcome.notes]
            if stage.group == "picture":
                prints.append(folder / PRINTS_FILE)
    whole = sum(digests.get(shard["name"]) == shard["sha256"] for shard in dataset.shards)
    invariants = [Invariant("shards have the content that dataset.json states", len(dataset.shards), whole, "shards/")]
    return Measured(paths, prints, problems, invariants)


_CHECKED = {
    "people": "body_seen", "left_right": "swapped", "body_fit": "reprojection", "faces": "face_yaw",
    "number_of_people": "people", "cuts": "cut", "frozen": "frozen", "bars_and_overlays": "overlay",
    "sharpness_and_light": "blur", "duplicates": "frames_sha256", "identities": "identity", "minors": "minor",
    "nudity": "nsfw",
}  # fmt: skip


def checks_of(connection: duckdb.DuckDBPyConnection, options: AuditOptions, people: People) -> list[Check]:
    """For each check on how many of the kept clips it has a value, and why it did not run."""
    counts = connection.execute(
        f"select count(*), {', '.join(f'count({column})' for column in _CHECKED.values())} from base "
        "left join relations using (key) where base.state = 'kept'"
    ).fetchone()
    assert counts is not None
    total, found = counts[0], dict(zip(_CHECKED, counts[1:]))
    why = {
        "minors": "no classifier was given (--classifier)",
        "nudity": "no classifier was given (--classifier)",
        "identities": "no face recogniser ran when the shards were made (`model` is none in their face.npz)",
        "body_fit": "the body file of the shards is not here",
    }
    small = connection.execute(
        "select count(*) from base where state = 'kept' and people is null and corrupt is null"
    ).fetchone()
    checks = []
    for name, number in found.items():
        ran = number > 0 if name in why else True
        reason = why.get(name) if not ran else f"{total - number} clips have no value" if number < total else None
        if name == "number_of_people" and small is not None and small[0]:
            reason = f"{reason}; in {small[0]} of them people are too small to count: under {LEAST_PERSON} pixels"
        checks.append(Check(name, ran, number, total, reason))
    if len(people.models) > 1:
        told = "several recognisers, whose vectors do not compare: " + ", ".join(people.models)
        checks.append(Check("one_recogniser", False, people.clips, total, told))
    checks.append(Check("benchmarks", bool(options.benchmarks), total if options.benchmarks else 0, total,
                        None if options.benchmarks else "no --benchmark-hashes were given"))  # fmt: skip
    return checks
