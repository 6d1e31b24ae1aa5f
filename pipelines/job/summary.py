"""What a run tells at its end: sources, clips, hours, reasons, speed; and which of it is a problem."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.engine.ledger import Record
from pipelines.job.stages import ANNOTATE_ORDER

STAGES = ("ingest", *ANNOTATE_ORDER, "pack")


@dataclass(frozen=True)
class Speed:
    """What a stage did in this run: units, frames and the seconds inside it (summed over workers)."""

    units: int
    frames: int
    seconds: float


@dataclass(frozen=True)
class Summary:
    """The end of a run. `rows` are the manifest's; `problems` are (what, reason, message) of bad input."""

    out: str
    sources: int
    rows: Sequence[Mapping[str, Any]]
    shards: Mapping[str, Record]
    speeds: dict[str, Speed]
    notes: list[tuple[str, str]]
    failures: list[tuple[str, str]]

    @property
    def problems(self) -> list[tuple[str, str, str]]:
        """Sources and clips that were quarantined, and notes on sources that were only partly readable."""
        quarantined = [
            (row.get("key") or row["source_path"], row["reason"], row.get("message") or "")
            for row in self.rows
            if row["state"] == "quarantined"
        ]
        return quarantined + [(source, "note", note) for source, note in self.notes]

    def exit_code(self, strict: bool) -> int:
        """0; 1 after unexpected errors; with `strict` 2 when bad input was met."""
        if self.failures or any(row["state"] == "failed" for row in self.rows):
            return 1
        return 2 if strict and self.problems else 0

    def show(self, console: Console) -> None:
        """Print the closing tables."""
        states = Counter(row["state"] for row in self.rows if row.get("key"))
        hours = sum(row.get("seconds") or 0.0 for row in self.rows if row["state"] == "kept") / 3600
        size = sum(record.outcome.info["bytes"] for record in self.shards.values())
        table = Table(title="Dataset", show_header=False, title_justify="left")
        table.add_row("sources", str(self.sources))
        table.add_row("clips kept", f"{states['kept']}  ({hours:.3f} h)")
        table.add_row("clips dropped", str(states["dropped"]))
        table.add_row("clips quarantined", str(states["quarantined"]))
        if states["failed"]:
            table.add_row("clips not finished", f"{states['failed']}  (unexpected errors; the next run tries again)")
        table.add_row("shards", f"{len(self.shards)}  ({size / 1e6:.1f} MB)")
        table.add_row("folder", Text(self.out))
        console.print(table)
        self._show_reasons(console)
        self._show_speeds(console)
        for where, trace in self.failures[:5]:
            console.print(Text(f"unexpected error in {where}; the next run tries it again\n{trace}"))

    def _show_reasons(self, console: Console) -> None:
        endings = [row for row in self.rows if row["state"] in ("dropped", "quarantined")]
        if endings or self.notes:
            table = Table(title="Dropped and quarantined", title_justify="left")
            for column in ("what", "state", "stage", "reason", "detail"):
                table.add_column(column, overflow="fold")
            for row in endings[:40]:
                what = Path(row["source_path"]).name + (f" @ frame {row['start_frame']}" if row.get("frames") else "")
                cells = (what, row["state"], row.get("stage"), row.get("reason"), row.get("message"))
                table.add_row(*(Text(str(cell or "")) for cell in cells))
            for source, note in self.notes[:20]:
                table.add_row(Text(source), "kept", "ingest", "note", Text(note))
            if len(endings) > 40:
                table.add_row(f"and {len(endings) - 40} more", "", "", "", "all are in manifest.parquet")
            console.print(table)

    def _show_speeds(self, console: Console) -> None:
        worked = {name: speed for name, speed in self.speeds.items() if speed.units}
        if worked:
            table = Table(title="Work of this run", title_justify="left")
            for column in ("stage", "units", "frames", "seconds", "frames/s"):
                table.add_column(column, justify="left" if column == "stage" else "right")
            for name, speed in worked.items():
                rate = f"{speed.frames / speed.seconds:.1f}" if speed.seconds > 0 else ""
                table.add_row(name, str(speed.units), str(speed.frames), f"{speed.seconds:.1f}", rate)
            console.print(table)


def speeds_of(records: Sequence[Record], run: str) -> dict[str, Speed]:
    """Units, frames and seconds per stage of the records that `run` wrote."""
    totals: dict[str, Speed] = {}
    for stage in STAGES:
        mine = [record for record in records if record.stage == stage and record.run == run]
        totals[stage] = Speed(len(mine), sum(r.outcome.frames for r in mine), sum(r.seconds for r in mine))
    return totals
