"""The ledger: what was tried, what was finished, and how it ended. Files in a folder or an object store, no server.

A *unit* is a piece of work that is committed whole. Its id is the hash of everything its result depends on, so that a
unit never needs to be looked into to know whether it is still valid.

    work/units/<stage>/<id[:2]>/<id>.<token>/...   what an attempt wrote; garbage until a record names it
    work/attempts/<stage>/<id[:2]>/<id>.<run>.<n>  an attempt's mark, written before it begins, so that a killed process
                                                   counts too; gone once the unit is committed
    work/commits/<stage>/<id[:2]>/<id>.json        the record; created once, the first writer wins; the only truth

So the marks that are left after a run are the attempts that came to nothing, and they name the garbage: nothing else
ever has to be listed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pipelines.engine.atomic import canonical_json, disk_full_as_such, file_digest, fsync_path
from pipelines.engine.host import alive, this_host
from pipelines.engine.scratch import scratch_folder
from pipelines.engine.storage import Store, open_store

Status = Literal["done", "dropped", "quarantined"]
MARK = re.compile(r"^attempts/(?P<stage>[^/]+)/../(?P<unit>[0-9a-f]{64})\.(?P<run>[^./]+)\.(?P<number>\d+)$")
# Records that a process remembers where reading one costs a request.
REMEMBERED = 4096
# Requests at a time where many records are asked for.
THREADS = 16


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


@dataclass(frozen=True)
class Attempt:
    """A try at a unit. number: counts within the run, 1 = first. folder: where it writes, below the work folder."""

    unit: Unit
    run: str
    number: int
    folder: str


class Ledger:
    """Reads and writes the records under one work folder or URL. Safe to use from many processes at once."""

    def __init__(self, work: Path | str | Store) -> None:
        self.store: Store = open_store(work) if isinstance(work, str | Path) else work
        self.remote = self.store.local("") is None
        self._known: dict[str, Record] = {}
        self._copies: dict[str, Path] = {}
        self._open: dict[Path, str] = {}

    def record(self, stage: str, unit: str) -> Record | None:
        """The commit record of a unit, or None while it has none."""
        key = _record_key(stage, unit)
        if key in self._known:
            return self._known[key]
        try:
            data = self.store.get(key)
        except FileNotFoundError:
            return None
        try:
            record = Record.from_json(data)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{self.store.url}/{key} is not a commit record ({error}). It was not written by this software or the "
                f"disk damaged it: delete the file and {self.store.url}/lots, and the unit is done again."
            ) from error
        if self.remote:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[key] = record
        return record

    def records(self, stage: str) -> Iterator[Record]:
        """Every record of a stage, in the order of their ids."""
        for key in sorted(entry.key for entry in self.store.list_prefix(f"commits/{stage}")):
            record = self.record(stage, Path(key).stem)
            if record is not None:
                yield record

    def records_of(self, units: Sequence[Unit]) -> Iterator[Record | None]:
        """`record` of each unit, in order; where that is a request, several at a time."""
        if not self.remote or len(units) < 2:
            yield from (self.record(unit.stage, unit.id) for unit in units)
            return
        with ThreadPoolExecutor(THREADS) as threads:
            yield from threads.map(lambda unit: self.record(unit.stage, unit.id), units)

    def begin(self, unit: Unit, run: str) -> Attempt:
        """Note that `run` is about to try the unit, and where it will write."""
        token = f"{this_host()}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
        folder = f"units/{unit.stage}/{unit.id[:2]}/{unit.id}.{token}"
        note = {"host": this_host(), "pid": os.getpid(), "time": time.time(), "folder": folder}
        number = 1
        while not self.store.put_new(_mark_key(unit, run, number), canonical_json(note)):
            number += 1
        return Attempt(unit, run, number, folder)

    def withdraw(self, attempt: Attempt) -> None:
        """Take an attempt back that ended for a reason which is not the unit's (the disk was full)."""
        self.store.delete(_mark_key(attempt.unit, attempt.run, attempt.number))

    def open_folder(self, attempt: Attempt) -> Path:
        """A fresh folder for the attempt to write into: its own place where that is local, else a scratch folder."""
        folder = self.store.local(attempt.folder)
        if folder is None:
            folder = scratch_folder(attempt.unit.stage)
            self._open[folder] = attempt.folder
            return folder
        with disk_full_as_such(folder):
            folder.mkdir(parents=True)
        return folder

    def commit(
        self, unit: Unit, outcome: Outcome, folder: Path | None, *, seconds: float, attempt: int, run: str
    ) -> Record:
        """Flush or upload what was written to `folder`, then create the record.

        If another writer was first, its record is returned instead, and what this one wrote goes.
        """
        files: dict[str, dict[str, Any]] = {}
        place = None
        with disk_full_as_such(self.store.url):
            if folder is not None:
                place = self._place_of(folder)
                files = self._keep(place, folder)
            record = Record(
                unit=unit.id,
                stage=unit.stage,
                version=unit.version,
                label=unit.label,
                outcome=outcome,
                folder=place,
                files=files,
                seconds=round(seconds, 4),
                attempt=attempt,
                run=run,
                identity=unit.identity,
                inputs=unit.inputs,
            )
            created = self.store.put_new(_record_key(unit.stage, unit.id), record.to_json())
        if not created:
            first = self.record(unit.stage, unit.id)
            assert first is not None, "a record that exists cannot be absent: none is deleted while a run is on"
            record = first
        if folder is not None and place is not None:
            if self.remote:
                shutil.rmtree(folder, ignore_errors=True)
            if record.folder != place:
                self.store.delete_prefix(place)
        for number in range(1, attempt + 1):
            self.store.delete(_mark_key(unit, run, number))
        return record

    def _place_of(self, folder: Path) -> str:
        """The key of an open folder."""
        root = self.store.local("")
        return self._open.pop(folder) if root is None else folder.relative_to(root).as_posix()

    def _keep(self, key: str, folder: Path) -> dict[str, dict[str, Any]]:
        """Make the files of `folder` last. Returns name -> sha256 and bytes."""
        files: dict[str, dict[str, Any]] = {}
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            name = path.relative_to(folder).as_posix()
            files[name] = {"sha256": file_digest(path), "bytes": path.stat().st_size}
            if self.remote:
                self.store.put(f"{key}/{name}", path)
            else:
                fsync_path(path)
        if not self.remote:
            fsync_path(folder)
            fsync_path(folder.parent)
        return files

    def folder_of(self, record: Record, only: str | None = None) -> Path:
        """A local folder with a record's files, or with the one named `only`. Copies stay until `tidy`."""
        if record.folder is None:
            raise ValueError(f"unit {record.unit} of stage {record.stage} ended as {record.status} and has no files")
        here = self.store.local(record.folder)
        if here is not None:
            return here
        here = self._copies.setdefault(record.folder, scratch_folder(record.stage))
        for name in record.files if only is None else [only]:
            if not (here / name).exists():
                self.store.fetch(f"{record.folder}/{name}", here / name)
        return here

    def tidy(self, but: Path | None = None) -> None:
        """Remove the local copies of what lies in an object store, all but the folder `but`."""
        for key, folder in list(self._copies.items()):
            if folder != but:
                shutil.rmtree(folder, ignore_errors=True)
                del self._copies[key]

    def reopen(self, stage: str, unit: str) -> bool:
        """Forget how a unit ended, so that it is tried again."""
        key = _record_key(stage, unit)
        existed = self.store.size(key) is not None
        self.store.delete(key)
        self._known.pop(key, None)
        return existed

    def sweep(self) -> tuple[int, Counter[str]]:
        """Go through the marks that earlier runs left. To be called while no other run is at work.

        Removes what attempts wrote that came to nothing and whose writer is gone. A writer on another host cannot be
        asked whether it lives: its folders go after a day. Returns (folders removed, for each unit without a record in
        how many runs it was being tried when they ended).
        """
        removed = 0
        risks: Counter[str] = Counter()
        runs = set()
        for key in [entry.key for entry in self.store.list_prefix("attempts")]:
            mark = MARK.match(key)
            if mark is None:
                continue
            try:
                note = json.loads(self.store.get(key))
            except FileNotFoundError:
                continue
            record = self.record(mark["stage"], mark["unit"])
            folder = note.get("folder")
            if folder and (record is None or record.folder != folder) and _writer_gone(note):
                removed += self._remove_folder(folder)
            if record is not None:
                self.store.delete(key)
            elif (mark["unit"], mark["run"]) not in runs:
                runs.add((mark["unit"], mark["run"]))
                risks[mark["unit"]] += 1
        return removed, risks

    def forgive(self, run: str) -> None:
        """Let the attempts of `run` that are open not count any more: what ended them was not their units' fault.

        Their marks get another run's name, since what they wrote is still garbage to be found.
        """
        for key in [entry.key for entry in self.store.list_prefix("attempts")]:
            mark = MARK.match(key)
            if mark is None or mark["run"] != run:
                continue
            try:
                note = self.store.get(key)
            except FileNotFoundError:
                continue
            self.store.put_new(f"{key.removesuffix('.' + mark['number'])}-{uuid.uuid4().hex[:6]}.1", note)
            self.store.delete(key)

    def _remove_folder(self, folder: str) -> int:
        there = any(True for _ in self.store.list_prefix(folder)) or bool(
            (local := self.store.local(folder)) is not None and local.is_dir()
        )
        if there:
            self.store.delete_prefix(folder)
        return int(there)


@lru_cache
def ledger_at(work: str) -> Ledger:
    """The one ledger of this process for a work folder or URL, so that what it remembers is remembered once."""
    return Ledger(work)


def _record_key(stage: str, unit: str) -> str:
    return f"commits/{stage}/{unit[:2]}/{unit}.json"


def _mark_key(unit: Unit, run: str, number: int) -> str:
    return f"attempts/{unit.stage}/{unit.id[:2]}/{unit.id}.{run}.{number}"


def _writer_gone(note: dict[str, Any]) -> bool:
    if note["host"] == this_host():
        return not alive(int(note["pid"]))
    return time.time() - float(note["time"]) > 86400
