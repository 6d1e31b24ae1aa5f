"""What a stage is, and the one function that runs a stage on a unit and commits the result."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from pipelines.engine.atomic import DiskFull, digest, disk_full_as_such
from pipelines.engine.events import report
from pipelines.engine.isolation import ChildDied
from pipelines.engine.ledger import Attempt, Ledger, Outcome, Record, Unit

log = logging.getLogger(__name__)
MAX_CRASHES = 3


class Stage(Protocol):
    """One step of the work. `name` names its folder in the ledger; `version` is raised when its output changes."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    def identity(self) -> dict[str, Any]:
        """Everything but the input that the result depends on: parameters, estimator, weight checksums."""
        ...


def unit_of(stage: Stage, label: str, inputs: Mapping[str, Any]) -> Unit:
    """The unit of `stage` for these inputs: id = hash of (stage, version, identity, inputs)."""
    identity = stage.identity()
    parts = {"stage": stage.name, "version": stage.version, "identity": identity, "inputs": dict(inputs)}
    return Unit(stage.name, stage.version, digest(parts), label, identity, dict(inputs))


def run_unit(ledger: Ledger, unit: Unit, run: str, work: Callable[[Path], Outcome]) -> Record:
    """Do a unit exactly once: return its record if there is one, else attempt it and commit how it ended.

    `work(folder)` writes its files into `folder` and returns an `Outcome`. A process that dies in `work` has left its
    attempt behind; after `MAX_CRASHES` such attempts *within one run* the unit is quarantined. Attempts of runs that
    were killed as a whole are not held against it. An exception from `work` is a bug and goes up; `DiskFull` goes up
    too and leaves no attempt.
    """
    done = ledger.record(unit.stage, unit.id)
    if done is not None:
        return done
    while True:
        attempt = ledger.begin(unit, run)
        if attempt.number > MAX_CRASHES:
            return _quarantine(ledger, attempt, "crashed", f"ended its process {MAX_CRASHES} times")
        folder = ledger.open_folder(attempt)
        start = time.monotonic()
        try:
            with disk_full_as_such(folder):
                outcome = work(folder)
            if outcome.status != "done":
                shutil.rmtree(folder, ignore_errors=True)
            kept = folder if outcome.status == "done" else None
            seconds = time.monotonic() - start
            record = ledger.commit(unit, outcome, kept, seconds=seconds, attempt=attempt.number, run=run)
            _report(ledger, attempt, outcome, seconds)
            return record
        except ChildDied as death:
            shutil.rmtree(folder, ignore_errors=True)
            log.warning("%s: %s: attempt %d of %d: %s", unit.stage, unit.label, attempt.number, MAX_CRASHES, death)
            if attempt.number >= MAX_CRASHES:
                return _quarantine(ledger, attempt, death.reason, str(death))
        except DiskFull:
            shutil.rmtree(folder, ignore_errors=True)
            ledger.withdraw(attempt)
            raise
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            spent, kind = time.monotonic() - start, type(error).__name__
            report(ledger.store, run, unit.stage, unit.id, "failed", reason=kind, seconds=spent, attempt=attempt.number)
            raise


def _quarantine(ledger: Ledger, attempt: Attempt, reason: str, message: str) -> Record:
    outcome = Outcome("quarantined", reason, message)
    record = ledger.commit(attempt.unit, outcome, None, seconds=0.0, attempt=attempt.number, run=attempt.run)
    _report(ledger, attempt, outcome, 0.0)
    return record


def _report(ledger: Ledger, attempt: Attempt, outcome: Outcome, seconds: float) -> None:
    report(
        ledger.store,
        attempt.run,
        attempt.unit.stage,
        attempt.unit.id,
        outcome.status,
        reason=outcome.reason,
        frames=outcome.frames,
        seconds=seconds,
        attempt=attempt.number,
    )
