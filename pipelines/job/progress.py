"""Progress while the job works: bars on the terminal, and `work/progress.json` for who asks from elsewhere."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from pipelines.engine.atomic import DiskFull
from pipelines.engine.executors import STOP, Row
from pipelines.engine.storage import StorageError, Store

log = logging.getLogger(__name__)
STATE = "progress.json"
# How often a run tells its state while it is in a phase.
STATE_SECONDS = 5.0
ENDINGS = ("dropped", "quarantined", "failed")
# On something that is no terminal a line is written this often.
LINE_SECONDS = 30.0


class RunState:
    """Keeps `progress.json` in the work folder: run, state, phase, finished, total, endings, and when it was told."""

    def __init__(self, work: Store, run: str) -> None:
        self.work = work
        self.facts: dict[str, object] = {"run": run, "state": "running", "began": time.time()}
        self.told = 0.0
        self.endings: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self.tell()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.facts["state"] = "finished" if kind is None else f"ended by {kind.__name__}"
        self.tell()

    def begin(self, phase: str, total: int) -> None:
        self.facts |= {"phase": phase, "total": total, "finished": 0, "phase_began": time.time()}
        self.tell()

    def advance(self, finished: int, ending: str | None) -> None:
        self.facts["finished"] = finished
        if ending is not None:
            self.endings[ending] += 1
        if time.monotonic() - self.told > STATE_SECONDS:
            self.tell()

    def tell(self) -> None:
        """Write the file. It is for people: that it cannot be written must not end a run, nor hide why one ended."""
        self.told = time.monotonic()
        facts: Mapping[str, object] = {**self.facts, "endings": dict(self.endings), "time": time.time()}
        try:
            self.work.put(STATE, json.dumps(facts).encode())
        except (OSError, StorageError, DiskFull) as error:
            log.warning("%s could not be written: %s", STATE, error)


class Progress:
    """Bars for the phases. On something that is no terminal, a line now and then and one per finished phase."""

    def __init__(self, console: Console | None = None, state: RunState | None = None) -> None:
        self.state = state
        self.console = console or Console(stderr=True)
        self.bars = Bars(
            TextColumn("{task.description:<9}"),
            BarColumn(30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=self.console,
            disable=not self.console.is_terminal,
        )

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    @contextmanager
    def phase(self, name: str, total: int) -> Iterator[Callable[[Row], None]]:
        """A bar for `total` rows; the block is given a function to call with each finished row."""
        task = self.bars.add_task(name, total=total, note="" if total else "nothing to do")
        endings: Counter[str] = Counter()
        if self.state is not None:
            self.state.begin(name, total)
        finished, told = 0, time.monotonic()

        def advance(row: Row) -> None:
            nonlocal finished, told
            finished += 1
            if row.get(STOP) in ENDINGS:
                endings[row[STOP]] += 1
            if self.state is not None:
                self.state.advance(finished, row.get(STOP) if row.get(STOP) in ENDINGS else None)
            self.bars.update(task, advance=1, note=f"{_words(endings)}  {row.get('label', '')}"[-90:])
            if time.monotonic() - told > LINE_SECONDS:
                told = time.monotonic()
                self._line(f"{name}: {finished} of {total} units {_words(endings)}")

        yield advance
        self.bars.update(task, note=_words(endings) or ("" if total else "nothing to do"))
        self._line(f"{name}: {total} units {_words(endings)}" if total else f"{name}: nothing to do")

    def _line(self, text: str) -> None:
        if not self.console.is_terminal:
            self.console.print(text.rstrip(), markup=False, highlight=False, soft_wrap=True)


def _words(endings: Counter[str]) -> str:
    return ", ".join(f"{count} {ending}" for ending, count in sorted(endings.items()))
