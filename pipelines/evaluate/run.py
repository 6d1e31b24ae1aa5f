"""An evaluation from two folders to the numbers, and the folder that it writes.

    OUT/results.json        every number with all that belongs to it
    OUT/videos.csv          the means of every video
    OUT/table.md, table.csv, table.tex, index.html, worst/: the same for people
    OUT/evaluate.partial/   until it ends: what was measured of each pair; the same command goes on with it
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from pipelines.engine.atomic import DiskFull, digest, remove_unfinished, write_whole
from pipelines.engine.executors import EXECUTORS, MESSAGE, STOP, Pool, Row, Worker
from pipelines.engine.setup_error import SetupError
from pipelines.evaluate.aggregate import PerVideo, Resampling, Set
from pipelines.evaluate.availability import Available, look
from pipelines.evaluate.measure import Measurer
from pipelines.evaluate.numbers import Number
from pipelines.evaluate.pairs import Pair, Pairs, match
from pipelines.evaluate.protocols import VERSION, Measure, chosen
from pipelines.evaluate.resize import PIL_BICUBIC
from pipelines.evaluate.sources import BadInput, Video
from pipelines.evaluate.store import measured_name, write_measured

RESULTS = "results.json"
PARTIAL = "evaluate.partial"
BAD = "bad_input"


class BadRequest(ValueError):
    """What was asked for cannot be done: no GPU, an output folder of something else."""


@dataclass(frozen=True)
class Request:
    """What to compare and how. size: (width, height) to resize both sides to, None to take them as they are."""

    generated: Path
    truth: Path
    out: Path
    method: str = "ours"
    dataset: str = "generic"
    protocols: tuple[str, ...] = ("disco", "corrected")
    metrics: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    device: str = "auto"
    executor: str = "inline"
    workers: int = 0
    allow_torchscript: bool = False
    allow_constant: bool = False
    resampling: Resampling = field(default_factory=Resampling)


@dataclass(frozen=True)
class Evaluation:
    """The result. judge: the measure that the worst frames were chosen by. notes: files left alone, pairs measured
    before."""

    request: Request
    numbers: tuple[Number, ...]
    videos: tuple[PerVideo, ...]
    pairs: tuple[Pair, ...]
    judge: str | None
    notes: tuple[str, ...]


class PairWorker:
    """Measures the pair of a row and writes it to the row's path. Networks are loaded with the first pair, so that a
    file that does not fit ends the run in one line on every executor."""

    def __init__(self, make: Callable[[], Measurer]) -> None:
        self.make = make
        self.measurer: Measurer | None = None

    def __call__(self, row: Row) -> Row:
        self.measurer = self.measurer or self.make()
        try:
            measured = self.measurer(_pair(row["pair"]))
        except BadInput as error:
            return {**row, STOP: BAD, MESSAGE: json.dumps(error.problems)}
        write_measured(Path(row["path"]), measured)
        return row


def evaluate(request: Request, progress: Callable[[int, int], None] = lambda done, total: None) -> Evaluation:
    """Measure everything and write `results.json`. The reports are written by `report.write_reports`.

    Pairs that an earlier, killed or failed run has measured in the same way are not measured again.

    Raises BadInput, BadRequest, UnknownMeasure, WeightsError and what executors raise; RuntimeError for a bug.
    """
    if min(request.workers, request.resampling.videos, request.resampling.statistics) < 0:
        raise BadRequest("workers and resamples are 0 or more")
    measures = chosen(request.protocols, request.metrics)
    device = _device(request.device, request.executor)
    found = match(request.generated, request.truth, request.size)
    available = look(measures, allow_torchscript=request.allow_torchscript)
    work = _prepared(request.out)
    files, before = _measured(request, measures, available, device, found, work, progress)
    held = Set(files, f"{PIL_BICUBIC}, both sides, rounded" if request.size else None, available)
    numbers = tuple(held.number(measure, request.resampling) for measure in measures)
    notes = found.notes
    if before:
        notes += (f"{before} of {len(files)} pairs were measured by an earlier run that did not end",)
    done = Evaluation(request, numbers, tuple(held.rows), found.pairs, held.judge, notes)
    write_whole(request.out / RESULTS, json.dumps(as_json(done), indent=1, allow_nan=False).encode())
    shutil.rmtree(work)
    return done


def as_json(done: Evaluation) -> dict[str, Any]:
    """What `results.json` holds."""
    request = asdict(done.request) | {name: str(getattr(done.request, name)) for name in ("generated", "truth", "out")}
    return {
        "version": VERSION,
        "request": request,
        "numbers": [number.as_json() for number in done.numbers],
        "videos": [asdict(video) for video in done.videos],
        "worst_by": done.judge,
        "notes": list(done.notes),
        "torch": torch.__version__,
    }


def _device(asked: str, executor: str) -> str:
    there = torch.cuda.is_available()
    if asked == "cuda" and not there and executor == "inline":
        raise BadRequest("--device cuda: this machine has no GPU that torch can use; leave --device out, or take cpu")
    return ("cuda" if there else "cpu") if asked == "auto" else asked


def _prepared(out: Path) -> Path:
    """OUT/evaluate.partial, as a killed run left it. A folder with other things in it is not touched."""
    work = out / PARTIAL
    if out.exists() and not out.is_dir():
        raise BadRequest(f"{out} is a file; --out names a folder")
    if out.is_dir() and any(out.iterdir()) and not work.is_dir() and not _ours(out / RESULTS):
        raise BadRequest(f"{out} holds other things than an evaluation; choose another folder")
    work.mkdir(parents=True, exist_ok=True)
    remove_unfinished(work)
    return work


def _ours(path: Path) -> bool:
    try:
        held = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(held, dict) and {"version", "numbers"} <= set(held)


def _measured(
    request: Request, measures: Sequence[Measure], available: Available, device: str, found: Pairs, work: Path,
    progress: Callable[[int, int], None],
) -> tuple[list[Path], int]:  # fmt: skip
    """A file of each pair, and how many of them an earlier run had measured."""
    how = digest({
        "version": VERSION, "torch": torch.__version__, "device": device, "constant": request.allow_constant,
        "resized": request.size is not None, "measures": {each.key: available.weights_of(each) for each in measures},
        "absent": sorted(available.absent), "estimators": [available.people[0], available.keypoints[0]],
    })  # fmt: skip
    files = [work.resolve() / measured_name(how, pair) for pair in found.pairs]
    for stale in set(work.resolve().glob("*.npz")) - set(files):
        stale.unlink()
    rows: list[Row] = [
        {"pair": asdict(pair), "path": str(path)}
        for pair, path in zip(found.pairs, files, strict=True)
        if not path.is_file()
    ]
    before = len(files) - len(rows)
    resized, constant = request.size is not None, request.allow_constant

    def make() -> Worker:
        return PairWorker(
            lambda: Measurer(measures, available, device, resized=resized, allow_constant=constant)
        )

    pool = Pool("evaluate", make, request.workers, gpus=1.0 if device == "cuda" else 0.0)
    problems: list[str] = []
    for done, row in enumerate(EXECUTORS[request.executor](rows, [pool]) if rows else (), before + 1):
        progress(done, len(files))
        if row.get(STOP) == BAD:
            problems += json.loads(row[MESSAGE])
        elif row.get(STOP) == "setup":
            raise SetupError(row[MESSAGE])
        elif row.get(STOP) == "disk_full":
            raise DiskFull(row[MESSAGE])
        elif row.get(STOP):
            raise RuntimeError(f"{row['pair']['name']}: {row[MESSAGE]}")
    if problems:
        raise BadInput(problems)
    return files, before


def _pair(told: dict[str, Any]) -> Pair:
    """A pair that went through a row."""
    ours, theirs = (Video(**{**told[side], "files": tuple(told[side]["files"])}) for side in ("generated", "truth"))
    width, height = told["size"]
    return Pair(told["name"], ours, theirs, (width, height), told["frames"])
