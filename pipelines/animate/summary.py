"""What a run tells at its end: how each job ended, reasons, and where the time went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

PARTS = ("estimate", "render", "wait", "sample", "decode", "encode", "finish", "preview")
SHOWN = 40


@dataclass(frozen=True)
class Ending:
    """How a job ended. status: done, quarantined or failed."""

    name: str
    where: str
    status: str
    reason: str | None = None
    message: str | None = None
    cautions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    frames: int = 0


@dataclass(frozen=True)
class Summary:
    """seconds: of this run's units, by part. failures: (where, traceback) of unexpected errors."""

    out: str
    endings: Sequence[Ending]
    seconds: Mapping[str, float]
    failures: Sequence[tuple[str, str]]
    preview: bool

    def exit_code(self, strict: bool) -> int:
        """0; 1 after unexpected errors; with `strict` 2 when a job was refused."""
        if self.failures or any(ending.status == "failed" for ending in self.endings):
            return 1
        return 2 if strict and any(ending.status == "quarantined" for ending in self.endings) else 0

    def show(self, console: Console) -> None:
        """Print the closing tables."""
        states = Counter(ending.status for ending in self.endings)
        table = Table(title="Jobs", show_header=False, title_justify="left")
        table.add_row("sheets made" if self.preview else "done", str(states["done"]))
        table.add_row("refused", str(states["quarantined"]))
        if states["failed"]:
            table.add_row("not finished", f"{states['failed']}  (unexpected errors; the next run tries again)")
        table.add_row("folder", Text(self.out))
        console.print(table)
        self._show_rows(
            console, "Refused", [(e.where, e.reason, e.message) for e in self.endings if e.status == "quarantined"]
        )
        cautions = [(e.name, *c.split(": ", 1)) for e in self.endings for c in e.cautions]
        self._show_rows(console, "Cautions", [*cautions, *((e.name, "note", n) for e in self.endings for n in e.notes)])
        self._show_seconds(console)
        for where, trace in list(self.failures)[:5]:
            console.print(Text(f"unexpected error in {where}; the next run tries it again\n{trace}"))

    def _show_rows(self, console: Console, title: str, rows: Sequence[Sequence[str | None]]) -> None:
        if not rows:
            return
        table = Table(title=title, title_justify="left")
        for column in ("job", "reason", "detail"):
            table.add_column(column, overflow="fold")
        for row in rows[:SHOWN]:
            table.add_row(*(Text(cell or "") for cell in row))
        if len(rows) > SHOWN:
            table.add_row(f"and {len(rows) - SHOWN} more", "", "")
        console.print(table)

    def _show_seconds(self, console: Console) -> None:
        if not self.seconds:
            return
        table = Table(title="Work of this run", title_justify="left")
        for column in ("part", "seconds", ""):
            table.add_column(column, justify="right" if column == "seconds" else "left")
        model = sum(self.seconds.get(part, 0.0) for part in ("sample", "decode"))
        for part in PARTS:
            if part in self.seconds:
                spent = self.seconds[part]
                share = f"{spent / model:.0%} of the model's time" if model and part in ("sample", "decode") else ""
                table.add_row(part, f"{spent:.1f}", share)
        console.print(table)
