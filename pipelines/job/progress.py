"""Progress on the terminal while the job works: one bar a phase, and what became of the units so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from pipelines.engine.executors import STOP, Row

WORDS = {"dropped": "dropped", "quarantined": "quarantined", "failed": "failed"}


class Progress:
    """Bars for the phases. On something that is no terminal, a line per finished phase instead."""

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

        def advance(row: Row) -> None:
            if row.get(STOP) in WORDS:
                endings[WORDS[row[STOP]]] += 1
            note = ", ".join(f"{count} {word}" for word, count in sorted(endings.items()))
            self.bars.update(task, advance=1, note=f"{note}  {row.get('label', '')}"[-90:])

        yield advance
        note = ", ".join(f"{count} {word}" for word, count in sorted(endings.items()))
        self.bars.update(task, note=note or ("" if total else "nothing to do"))
        if not self.console.is_terminal:
            self.console.print(f"{name}: {total} units{', ' + note if note else ''}", markup=False, highlight=False)
