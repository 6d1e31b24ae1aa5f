"""What `vividpose status` tells: read from the work folder alone, during a run and after, by anyone who can read it."""

from __future__ import annotations

import fcntl
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.engine.events import FOLDER
from pipelines.engine.storage import Store, join, open_store
from pipelines.job.plan import SOURCES
from pipelines.job.progress import STATE

STAGES = ("ingest", "people", "keypoints", "face", "estimate", "body", "render", "quality", "pack")
# A run that told nothing for so long is taken for dead where there is no file lock to ask.
SILENT_SECONDS = 120.0


class NoDataset(RuntimeError):
    """There is no output of `vividpose shards` at this place."""


@dataclass
class StageState:
    """What one run did in a stage. latest: the last unit's time (Unix)."""

    ended: Counter[str] = field(default_factory=Counter)
    frames: int = 0
    seconds: float = 0.0
    workers: set[str] = field(default_factory=set)
    first: float = 0.0
    latest: float = 0.0


@dataclass(frozen=True)
class Status:
    """`run` is what the run last told of itself (see `pipelines.job.progress`), empty before the first."""

    place: str
    at_work: bool
    run: dict[str, Any]
    planned: int
    dataset: dict[str, Any]
    stages: dict[str, StageState]

    def to_json(self) -> dict[str, Any]:
        """For programs: the same numbers."""
        stages = {
            name: {
                **state.ended,
                "frames": state.frames,
                "seconds": round(state.seconds, 3),
                "workers": len(state.workers),
                "busy": busy(state),
            }
            for name, state in self.stages.items()
        }
        dataset = {name: self.dataset[name] for name in ("samples", "frames", "bytes") if name in self.dataset}
        shards = len(self.dataset.get("shards", ()))
        return {
            "place": self.place,
            "at_work": self.at_work,
            "sources_planned": self.planned,
            "dataset": {**dataset, "shards": shards},
            "run": self.run,
            "stages": stages,
        }


def read_status(out: str | Path) -> Status:
    """Raises `NoDataset`, `StorageError`."""
    store = open_store(out)
    work = open_store(join(store.url, "work"))
    told = _json(work, STATE)
    dataset = _json(store, "dataset.json")
    planned = _planned(work)
    if not told and not dataset and not planned:
        raise NoDataset(f"{store.url}: is no output of `vividpose shards` (no plan, no run, no dataset.json in it)")
    stages: dict[str, StageState] = defaultdict(StageState)
    if told:
        for line in _lines(work, f"{FOLDER}/{told['run']}"):
            state = stages[line["stage"]]
            state.ended[line["status"]] += 1
            state.frames += line["frames"]
            state.seconds += line["seconds"]
            state.workers.add(f"{line['host']}.{line['pid']}")
            begun = line["time"] - line["seconds"]
            state.first = min(state.first or begun, begun)
            state.latest = max(state.latest, line["time"])
    at_work = told.get("state") == "running" and _alive(work, told)
    ordered = {name: stages[name] for name in (*STAGES, *sorted(set(stages) - set(STAGES))) if name in stages}
    return Status(store.url, at_work, told, planned, dataset, ordered)


def busy(state: StageState) -> float:
    """The share of their time, from the stage's first unit to its last, that its workers spent inside it."""
    span = (state.latest - state.first) * len(state.workers)
    return round(min(1.0, state.seconds / span), 3) if span > 0 else 0.0


def _json(store: Store, key: str) -> dict[str, Any]:
    try:
        return json.loads(store.get(key))
    except FileNotFoundError:
        return {}


def _planned(work: Store) -> int:
    """Lines of the source plans: a path that changed counts again, which a person can live with."""
    return sum(work.get(entry.key).count(b"\n") for entry in work.list_prefix(SOURCES))


def _lines(work: Store, folder: str) -> Iterator[dict[str, Any]]:
    for entry in work.list_prefix(folder):
        for line in work.get(entry.key).splitlines():
            try:
                yield json.loads(line)
            except ValueError:  # the end of a file that is being written
                continue


def _alive(work: Store, told: dict[str, Any]) -> bool:
    lock = work.local("lock")
    if lock is None:
        return time.time() - told["time"] < SILENT_SECONDS
    try:
        with lock.open("r") as held:
            fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def show_status(status: Status, console: Console) -> None:
    """Print the tables."""
    told, dataset = status.run, status.dataset
    table = Table(title="Dataset", show_header=False, title_justify="left")
    table.add_row("place", Text(status.place))
    table.add_row("sources planned", str(status.planned))
    if dataset:
        seconds = f"{dataset['samples']} samples, {dataset['bytes'] / 1e6:.1f} MB"
        table.add_row("shards", f"{len(dataset['shards'])}  ({seconds})")
    else:
        table.add_row("shards", "none yet")
    if told:
        table.add_row("last run", Text(f"{told['run']}  {_words(status)}"))
        if status.at_work and told.get("total"):
            table.add_row("phase", Text(f"{told['phase']}: {told['finished']} of {told['total']}{_left(told)}"))
        for ending, count in sorted(told.get("endings", {}).items()):
            table.add_row(f"  {ending}", str(count))
    console.print(table)
    if status.stages:
        table = Table(title="Work of the last run", title_justify="left")
        for column in ("stage", "done", "dropped", "quarantined", "failed", "frames", "frames/s", "workers", "busy"):
            table.add_column(column, justify="left" if column == "stage" else "right")
        for name, state in status.stages.items():
            counts = [str(state.ended[kind]) for kind in ("done", "dropped", "quarantined", "failed")]
            span = state.latest - state.first
            rate = f"{state.frames / span:.1f}" if span > 0 else ""
            table.add_row(
                name, *counts, str(state.frames), rate, str(len(state.workers)), f"{100 * busy(state):.0f} %"
            )
        console.print(table)


def _words(status: Status) -> str:
    told = status.run
    ago = f"{time.time() - told['time']:.0f} s ago"
    if status.at_work:
        return f"is at work (told {ago})"
    if told["state"] == "running":
        return f"was ended before it was finished (told {ago}); run the same command again to continue"
    return f"{told['state']} {ago}"


def _left(told: dict[str, Any]) -> str:
    spent = told["time"] - told["phase_began"]
    if not told["finished"] or spent <= 0:
        return ""
    left = spent / told["finished"] * (told["total"] - told["finished"])
    return f", {left / 3600:.1f} h left" if left > 5400 else f", {left / 60:.0f} min left"
