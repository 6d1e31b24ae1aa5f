"""The tables, before they are Markdown, LaTeX or a page: ours, and the published ones with ours among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.evaluate.numbers import Number
from pipelines.evaluate.protocols import MEASURES
from pipelines.evaluate.published_tables import PublishedTable, published
from pipelines.evaluate.run import Evaluation

ABSENT = "–"
MARKS = "abcdefghijklmnopqrstuvwxyz"
DISCO_SIZE = (256, 256)
# Digits behind the point; L1 as DisCo has it is written with an exponent.
DIGITS = {"fid": 2, "fid_vid": 2, "fvd": 2, "fvd_stylegan_v": 2, "psnr": 2, "ssim": 3, "lpips": 3, "kid": 5}


@dataclass(frozen=True)
class Cell:
    """text: what stands there. marks: the letters of footnotes."""

    text: str
    marks: str = ""


@dataclass(frozen=True)
class Row:
    """name: the method or measure. ours: to be told apart from what others published."""

    name: str
    cells: tuple[Cell, ...]
    ours: bool = False


@dataclass(frozen=True)
class Table:
    """columns: their titles, the first for the rows' names. about: a sentence. notes: the footnotes, by letter."""

    title: str
    about: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[tuple[str, str], ...] = ()


def show(metric: str, protocol: str, value: float | None) -> str:
    """A value with as many digits as the field prints."""
    if value is None:
        return ABSENT
    if metric == "l1" and protocol == "disco":
        return f"{value:.2E}"
    return f"{value:.{DIGITS.get(metric, 4)}f}"


def title(metric: str, better: str, name: str) -> str:
    return name + {"lower": " ↓", "higher": " ↑"}.get(better, "")


def tables_of(done: Evaluation) -> list[Table]:
    """One table a protocol, then the published ones of the dataset."""
    own = [_own(done, protocol) for protocol in done.request.protocols]
    own = [table for table in own if table.rows]
    return own + [_published(done, table) for table in published(done.request.dataset)]


ABOUT = {
    "disco": "What DisCo's tool computes, faults included: to stand beside published tables, not to be trusted alone.",
    "corrected": "The same metrics without the faults, and those that the tables lack. Not comparable with them.",
}


def _own(done: Evaluation, protocol: str) -> Table:
    rows = []
    for number in done.numbers:
        if number.protocol == protocol:
            value = Cell(show(number.metric, protocol, number.value))
            rows.append(Row(title(number.metric, number.better, number.title), (value, *_details(number)), ours=True))
    columns = ("Metric", "Value", "95 % over videos", "Videos", "Frames", "Clips", "Size", "What it is")
    return Table(f"Protocol {protocol}", ABOUT[protocol], columns, tuple(rows))


def _details(number: Number) -> tuple[Cell, ...]:
    told = ". ".join((number.definition, *number.notes))
    if number.value is None:
        return (*[Cell(ABSENT)] * 5, Cell(f"absent: {number.reason}"))
    interval = ABSENT
    if number.low is not None:
        interval = " to ".join(show(number.metric, number.protocol, end) for end in (number.low, number.high))
    size = f"{number.size[0]} x {number.size[1]}" if number.size else "differs"
    if number.resize != "none":
        told += f". Resized: {number.resize}"
    if number.clips is not None:
        told += f". Clips: {number.clip_rule}"
    if number.estimators:
        told += f". By {', '.join(number.estimators)}"
    if number.weights:
        told += ". " + ", ".join(f"{name} sha256 {sha[:12]}" for name, sha in number.weights.items())
    clips = ABSENT if number.clips is None else str(number.clips)
    return (Cell(interval), Cell(str(number.videos)), Cell(str(number.frames)), Cell(clips), Cell(size), Cell(told))


def _published(done: Evaluation, table: PublishedTable) -> Table:
    notes: dict[str, str] = {}

    def marks(told: Sequence[str]) -> str:
        return ",".join(sorted(notes.setdefault(each, MARKS[len(notes) % len(MARKS)]) for each in told))

    by_metric = {n.metric: n for n in done.numbers if n.protocol == table.protocol}
    rows = []
    for row in table.rows:
        cells = (Cell(show(m, table.protocol, row.values.get(m)), marks(table.marks(row, m))) for m in table.metrics)
        rows.append(Row(row.method, tuple(cells)))
    if by_metric:
        cells = (
            Cell(show(m, table.protocol, by_metric[m].value if m in by_metric else None),
                 marks([table.faults[m]]) if m in by_metric and by_metric[m].value is not None and m in table.faults
                 else "")
            for m in table.metrics
        )  # fmt: skip
        rows.append(Row(f"{done.request.method}, {table.protocol} protocol", tuple(cells), ours=True))
    better = {"psnr": "higher", "ssim": "higher"}
    names = {measure.metric: measure.title for measure in MEASURES if measure.protocol == table.protocol}
    columns = ("Method", *(title(m, better.get(m, "lower"), names.get(m, m)) for m in table.metrics))
    about = f"Source: {table.source}. A letter marks a number whose protocol is known to be faulty."
    sizes = {number.size for number in by_metric.values() if number.value is not None}
    if sizes and sizes != {DISCO_SIZE}:
        ours = ", ".join(f"{size[0]} x {size[1]}" if size else "different sizes" for size in sizes)
        about += f" Ours was measured at {ours}; DisCo's own tool at {DISCO_SIZE[0]} x {DISCO_SIZE[1]}."
    return Table(table.title, about, columns, tuple(rows), tuple((letter, told) for told, letter in notes.items()))
