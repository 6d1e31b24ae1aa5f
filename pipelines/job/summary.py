"""What a run tells at its end: sources, clips, hours, reasons, speed; and which of it is a problem."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.engine.ledger import Record
from pipelines.engine.storage import open_store
from pipelines.job.stages import ANNOTATE_ORDER

MOST_ENDINGS = 40
MOST_NOTES = 20
STAGES = ("ingest", *ANNOTATE_ORDER, "pack")


@dataclass(frozen=True)
class Speed:
    """What a stage did in this run: units, frames and the seconds inside it (summed over workers)."""

    units: int
    frames: int
    seconds: float


@dataclass(frozen=True)
class Told:
    """What the manifest says at its shortest. states: rows by state, for clips alone and for everything.

    hours: of kept clips. endings: the first rows that were dropped or quarantined. quarantined: how many rows.
    """

    clips: Counter[str]
    rows: Counter[str]
    hours: float
    endings: list[dict[str, Any]]


def read_manifest(path: Path) -> Told:
    """Count the rows of a manifest.parquet of any size."""
    with duckdb.connect() as db:
        db.read_parquet(str(path)).create_view("manifest")
        counts = db.execute("SELECT state, count(key), count(*), sum(seconds) FROM manifest GROUP BY state").fetchall()
        found = db.execute(
            "SELECT source_path, state, stage, reason, message, start_frame, frames FROM manifest "
            f"WHERE state IN ('dropped', 'quarantined') LIMIT {MOST_ENDINGS}"
        )
        columns = [column[0] for column in found.description or ()]
        endings = [dict(zip(columns, row)) for row in found.fetchall()]
    hours = next((seconds or 0.0 for state, _, _, seconds in counts if state == "kept"), 0.0) / 3600
    clips, rows = ({row[0]: row[column] for row in counts} for column in (1, 2))
    return Told(Counter(clips), Counter(rows), hours, endings)


@dataclass(frozen=True)
class Summary:
    """The end of a run. shards: the facts of each, by name. notes: on sources that were only partly readable."""

    out: str
    sources: int
    told: Told
    shards: Mapping[str, Mapping[str, Any]]
    speeds: dict[str, Speed]
    notes: list[tuple[str, str]]
    failures: list[tuple[str, str]]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The manifest, read anew: a row per clip, and more. All of it is in memory then."""
        return pq.read_table(io.BytesIO(open_store(self.out).get("manifest.parquet"))).to_pylist()

    def exit_code(self, strict: bool) -> int:
        """0; 1 after unexpected errors; with `strict` 2 when bad input was met."""
        if self.failures or self.told.rows["failed"]:
            return 1
        return 2 if strict and (self.told.rows["quarantined"] or self.notes) else 0

    def show(self, console: Console) -> None:
        """Print the closing tables."""
        states = self.told.clips
        size = sum(facts["bytes"] for facts in self.shards.values())
        table = Table(title="Dataset", show_header=False, title_justify="left")
        table.add_row("sources", str(self.sources))
        table.add_row("clips kept", f"{states['kept']}  ({self.told.hours:.3f} h)")
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
        endings = self.told.endings
        if endings or self.notes:
            table = Table(title="Dropped and quarantined", title_justify="left")
            for column in ("what", "state", "stage", "reason", "detail"):
                table.add_column(column, overflow="fold")
            for row in endings:
                what = Path(row["source_path"]).name + (f" @ frame {row['start_frame']}" if row.get("frames") else "")
                cells = (what, row["state"], row.get("stage"), row.get("reason"), row.get("message"))
                table.add_row(*(Text(str(cell or "")) for cell in cells))
            for source, note in self.notes[:20]:
                table.add_row(Text(source), "kept", "ingest", "note", Text(note))
            more = self.told.rows["dropped"] + self.told.rows["quarantined"] - len(endings)
            if more:
                table.add_row(f"and {more} more", "", "", "", "all are in manifest.parquet")
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


class Speeds:
    """Adds up the units, frames and seconds per stage of the records that one run wrote."""

    def __init__(self, run: str) -> None:
        self.run = run
        self._totals = {stage: Speed(0, 0, 0.0) for stage in STAGES}

    def add(self, record: Record) -> None:
        """Count a record if this run wrote it."""
        if record.run == self.run:
            so_far = self._totals[record.stage]
            frames, seconds = so_far.frames + record.outcome.frames, so_far.seconds + record.seconds
            self._totals[record.stage] = Speed(so_far.units + 1, frames, seconds)

    def totals(self) -> dict[str, Speed]:
        """By stage, in the order of the work."""
        return dict(self._totals)
