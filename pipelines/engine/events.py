"""The log of a run: a JSON line for each unit that ended, in `work/log/<run>/`, a file per process.

    {"time": 1764000000.1, "stage": "body", "unit": "<id>", "status": "done", "frames": 120, "seconds": 8.2, ...}

A line names its unit by id alone; the label and the message are in the unit's commit record. So the log holds nothing
of a person, and a withdrawal need not look into it. An error that nobody expected has its type here and its traceback
in the closing table.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import threading
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipelines.engine.host import this_host
from pipelines.engine.metrics import count
from pipelines.engine.storage import StorageError, Store, open_store

FOLDER = "log"
# An object store cannot append: lines are gathered, and put as a further part this often.
PART_SECONDS = 20.0


class EventLog:
    """The lines of this process for one run."""

    def __init__(self, work: Store, run: str) -> None:
        self.store = work
        self.key = f"{FOLDER}/{run}/{this_host()}.{os.getpid()}"
        self.lines: list[str] = []
        self.part = 0
        self.put_at = time.monotonic()
        self.lock = threading.Lock()

    def write(self, facts: dict[str, Any]) -> None:
        """Add a line. In a folder it is there at once, in an object store after a while."""
        line = json.dumps({"time": round(time.time(), 3), **facts}, sort_keys=True) + "\n"
        here = self.store.local(f"{self.key}.jsonl")
        with self.lock:
            if here is not None:
                _append(here, line)
                return
            self.lines.append(line)
            late = time.monotonic() - self.put_at > PART_SECONDS
        if late:
            self.flush()

    def flush(self) -> None:
        """Put the lines that were gathered."""
        with self.lock:
            if self.lines:
                self.store.put(f"{self.key}.{self.part:06d}.jsonl", "".join(self.lines).encode())
                self.lines, self.part = [], self.part + 1
            self.put_at = time.monotonic()


def _append(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


@lru_cache
def _log_of(work: str, run: str, process: int) -> EventLog:
    log = EventLog(open_store(work), run)
    if log.store.local("") is None:
        atexit.register(_flush_at_end, log)
    return log


def _flush_at_end(events: EventLog) -> None:
    try:
        events.flush()
    except StorageError as error:
        logging.getLogger(__name__).warning("the last lines of the log are lost: %s", error)


def log_of(work: Store, run: str) -> EventLog:
    """This process's log of a run."""
    return _log_of(work.url, run, os.getpid())


def report(
    work: Store,
    run: str,
    stage: str,
    unit: str,
    status: str,
    *,
    reason: str | None = None,
    frames: int = 0,
    seconds: float = 0.0,
    attempt: int = 1,
) -> None:
    """Write down how a unit ended, and count it."""
    facts: dict[str, Any] = {"stage": stage, "unit": unit, "status": status, "frames": frames, "attempt": attempt}
    if reason:
        facts["reason"] = reason
    log_of(work, run).write({**facts, "seconds": round(seconds, 4), "host": this_host(), "pid": os.getpid()})
    count(stage, status, frames, seconds)
