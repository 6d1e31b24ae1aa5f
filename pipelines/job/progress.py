"""Progress on the terminal while the job works: one bar a phase, and what became of the units so far."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from pipelines.engine.executors import STOP, Row

ENDINGS = ("dropped", "quarantined", "failed")
# On something that is no terminal a line is written this often.
LINE_SECONDS = 30.0


class Progress:
    """Bars for the phases. On something that is no terminal, a line now and then and one per finished phase."""

    def __init__(self, console: Console | None = None) -> None:
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
        finished, told = 0, time.monotonic()

        def advance(row: Row) -> None:
            nonlocal finished, told
            finished += 1
            if row.get(STOP) in ENDINGS:
                endings[row[STOP]] += 1
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
