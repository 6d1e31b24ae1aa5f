"""The ledger: what was tried, what was finished, and how it ended. Files on a POSIX file system, no server.

A *unit* is a piece of work that is committed whole. Its id is the hash of everything its result depends on, so that a
unit never needs to be looked into to know whether it is still valid.

    work/units/<stage>/<id[:2]>/<id>.<token>/...   what an attempt wrote; garbage until a record names it
    work/attempts/<stage>/<id[:2]>/<id>/<run>.<n>  written before each attempt, so that a killed process counts too
    work/commits/<stage>/<id[:2]>/<id>.json        the record; created once, the first writer wins; the only truth
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipelines.engine.atomic import canonical_json, create_once, disk_full_as_such, file_digest, fsync_path

Status = Literal["done", "dropped", "quarantined"]
TOKEN = re.compile(r"^(?P<unit>[0-9a-f]{64})\.(?P<host>[A-Za-z0-9_-]+)\.(?P<pid>\d+)\.[0-9a-f]+$")


@dataclass(frozen=True)
class Unit:
    """A unit of one stage. `id` is the hash of everything below but the label, which is for people.

    identity: what the stage is made of (parameters, estimator, weight checksums). inputs: what it works on.
    """

    stage: str
    version: str
    id: str
    label: str
    identity: dict[str, Any]
    inputs: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """How a stage's work on a unit ended, as the stage itself sees it.

    reason: a short stable key, for anything but "done"; message: the sentence for a person.
    scores: every number behind the decision. notes: things worth telling though the work succeeded ("truncated: ...").
    info: facts that later units or the sample need (JSON-able).
    frames: how many frames were worked on, for throughput.
    """

    status: Status = "done"
    reason: str | None = None
    message: str | None = None
    scores: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    info: dict[str, Any] = field(default_factory=dict)
    frames: int = 0


@dataclass(frozen=True)
class Record:
    """A commit record. `folder` is relative to the work folder; `files` maps a name to its sha256 and size."""

    unit: str
    stage: str
    version: str
    label: str
    outcome: Outcome
    folder: str | None
    files: dict[str, dict[str, Any]]
    seconds: float
    attempt: int
    run: str
    identity: dict[str, Any]
    inputs: dict[str, Any]

    @property
    def status(self) -> Status:
        return self.outcome.status

    def to_json(self) -> bytes:
        return canonical_json(asdict(self))

    @classmethod
    def from_json(cls, data: bytes) -> Record:
        raw = json.loads(data)
        raw["outcome"]["notes"] = tuple(raw["outcome"]["notes"])
        raw["outcome"] = Outcome(**raw["outcome"])
        return cls(**raw)


def new_run_id() -> str:
    """A name for one run of the command: sortable by time, unique."""
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:6]}"


def this_host() -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname()) or "host"


class Ledger:
    """Reads and writes the records under one work folder. Safe to use from many processes at once."""

    def __init__(self, work: Path) -> None:
        self.work = Path(work)

    def _record_path(self, stage: str, unit: str) -> Path:
        return self.work / "commits" / stage / unit[:2] / f"{unit}.json"

    def _attempts_dir(self, stage: str, unit: str) -> Path:
        return self.work / "attempts" / stage / unit[:2] / unit

    def record(self, stage: str, unit: str) -> Record | None:
        """The commit record of a unit, or None while it has none."""
        path = self._record_path(stage, unit)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            return Record.from_json(data)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} is not a commit record ({error}). It was not written by this software or the disk damaged "
                "it: delete the file, and the unit is done again."
            ) from error

    def records(self, stage: str) -> Iterator[Record]:
        """Every record of a stage, in the order of their ids."""
        for path in sorted((self.work / "commits" / stage).glob("??/*.json")):
            record = self.record(stage, path.stem)
            if record is not None:
                yield record

    def begin_attempt(self, stage: str, unit: str, run: str) -> int:
        """Note that `run` is about to try the unit. Returns how often this run has now tried it (1 = first)."""
        folder = self._attempts_dir(stage, unit)
        count = 1 + len(list(folder.glob(f"{run}.*"))) if folder.is_dir() else 1
        note = {"host": this_host(), "pid": os.getpid(), "time": time.time()}
        while not create_once(folder / f"{run}.{count}", canonical_json(note)):
            count += 1
        return count

    def withdraw_attempt(self, stage: str, unit: str, run: str, attempt: int) -> None:
        """Take an attempt back that ended for a reason which is not the unit's (the disk was full)."""
        (self._attempts_dir(stage, unit) / f"{run}.{attempt}").unlink(missing_ok=True)

    def interrupted_runs(self, stage: str, unit: str, run: str) -> int:
        """In how many *other* runs the unit was tried without a record: runs that were killed while it was at work."""
        folder = self._attempts_dir(stage, unit)
        if not folder.is_dir():
            return 0
        return len({name.rsplit(".", 1)[0] for name in os.listdir(folder) if not name.startswith(".")} - {run})

    def open_folder(self, stage: str, unit: str) -> Path:
        """A fresh folder for an attempt to write into. Its name tells who writes, so that garbage can be told."""
        token = f"{this_host()}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
        folder = self.work / "units" / stage / unit[:2] / f"{unit}.{token}"
        with disk_full_as_such(folder):
            folder.mkdir(parents=True)
        return folder

    def commit(
        self, unit: Unit, outcome: Outcome, folder: Path | None, *, seconds: float, attempt: int, run: str
    ) -> Record:
        """Flush what was written and create the record. If another writer was first, its record is returned instead."""
        files: dict[str, dict[str, Any]] = {}
        with disk_full_as_such(self.work):
            if folder is not None:
                for path in sorted(p for p in folder.rglob("*") if p.is_file()):
                    fsync_path(path)
                    name = path.relative_to(folder).as_posix()
                    files[name] = {"sha256": file_digest(path), "bytes": path.stat().st_size}
                fsync_path(folder)
                fsync_path(folder.parent)
            relative = folder.relative_to(self.work).as_posix() if folder is not None else None
            record = Record(
                unit=unit.id,
                stage=unit.stage,
                version=unit.version,
                label=unit.label,
                outcome=outcome,
                folder=relative,
                files=files,
                seconds=round(seconds, 4),
                attempt=attempt,
                run=run,
                identity=unit.identity,
                inputs=unit.inputs,
            )
            created = create_once(self._record_path(unit.stage, unit.id), record.to_json())
        if created:
            return record
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        first = self.record(unit.stage, unit.id)
        assert first is not None, "a record that exists cannot be absent: records are never deleted while a run is on"
        return first

    def folder_of(self, record: Record) -> Path:
        """Where a record's files lie."""
        if record.folder is None:
            raise ValueError(f"unit {record.unit} of stage {record.stage} ended as {record.status} and has no files")
        return self.work / record.folder

    def reopen(self, stage: str, unit: str) -> bool:
        """Forget how a unit ended and how often it was tried, so that the next run tries it again."""
        path = self._record_path(stage, unit)
        existed = path.exists()
        path.unlink(missing_ok=True)
        shutil.rmtree(self._attempts_dir(stage, unit), ignore_errors=True)
        return existed

    def collect_garbage(self) -> int:
        """Remove folders that no record names and whose writer is gone. Returns how many went.

        A writer on another host cannot be asked whether it lives: its folders go after a day.
        """
        removed = 0
        for folder in self.work.glob("units/*/??/*"):
            match = TOKEN.match(folder.name)
            if match is None:
                continue
            record = self.record(folder.parent.parent.name, match["unit"])
            if record is not None and record.folder == folder.relative_to(self.work).as_posix():
                continue
            if match["host"] == this_host():
                gone = not _alive(int(match["pid"]))
            else:
                gone = time.time() - folder.stat().st_mtime > 86400
            if gone:
                shutil.rmtree(folder, ignore_errors=True)
                removed += 1
        return removed


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
