"""Samples beside the truth: numbers by the project's own evaluator, and strips to look at."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from train.ablation.clips import ClipSet
from train.ablation.data import CommandFailed, command
from train.ablation.fit import RunName
from train.ablation.score import save_frames, window_name
from train.ablation.variants import TITLES, VARIANTS
from train.strip import write_strip

METRICS = ("psnr", "ssim", "l1", "flicker")
LARGER = 2


def write_truth(out: Path, clips: ClipSet) -> Path:
    """The true frames of the test windows as the evaluator reads them."""
    folder = out / "evaluation" / "truth"
    for number in range(len(clips)):
        path = folder / f"{window_name(clips, number)}.npy"
        if not path.is_file():
            save_frames(path, _pictures(clips, number, "frames"))
    return folder


def evaluate(out: Path, run: RunName, truth: Path) -> dict[str, dict[str, float | None]]:
    """`vividpose evaluate` on the samples of a run: window -> metric -> mean over its frames."""
    report = out / "evaluation" / str(run)
    if not (report / "videos.csv").is_file():
        command(
            [sys.executable, "-m", "pipelines.cli", "evaluate", str(run.folder(out) / "samples"), str(truth), "--out",
             str(report), "--method", str(run), "--protocol", "corrected", "--metrics", ",".join(METRICS),
             "--allow-constant"],
            out / "evaluation" / f"{run}.log",
        )  # fmt: skip
    with (report / "videos.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return {row["video"]: {metric: _number(row, metric) for metric in METRICS} for row in rows}


def _number(row: Mapping[str, str], metric: str) -> float | None:
    found = next((value for name, value in row.items() if name.startswith(f"{metric}.")), "")
    return float(found) if found else None


def write_strips(out: Path, clips: ClipSet, seed: int, numbers: Sequence[int]) -> list[Path]:
    """A picture per test window: reference, maps, truth, and what each variant samples."""
    written = []
    for number in numbers:
        rows = {name: _pictures(clips, number, name) for name in ("reference", "skeleton", "rendering")}
        rows["truth"] = _pictures(clips, number, "frames")
        name = window_name(clips, number)
        for variant in VARIANTS:
            rows[TITLES[variant]] = np.load(
                RunName(variant, seed).folder(out) / "samples" / f"{name}.npy", allow_pickle=False
            )
        path = out / "strips" / f"{name}.png"
        write_strip(path, {title: _larger(frames) for title, frames in rows.items()})
        written.append(path)
    return written


def spread_over_people(clips: ClipSet, count: int) -> list[int]:
    """The first window of each of the first people."""
    first = {person: number for number, person in reversed(list(enumerate(clips.people)))}
    return sorted(first.values())[:count]


def _pictures(clips: ClipSet, number: int, what: str) -> NDArray[np.uint8]:
    tensor = getattr(clips.batch, what)[number]
    frames = tensor[None] if tensor.ndim == 3 else tensor
    return np.ascontiguousarray(frames.movedim(1, -1).numpy())


def _larger(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    size = (frames.shape[2] * LARGER, frames.shape[1] * LARGER)
    return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_NEAREST) for frame in frames])


def sample_values(out: Path, runs: Sequence[RunName], clips: ClipSet) -> dict[tuple[str, int], NDArray[np.float64]]:
    """Of each run (metrics, windows), NaN where there is no number; the errors with a minus, so that more is better."""
    truth = write_truth(out, clips)
    names = [window_name(clips, number) for number in range(len(clips))]
    values = {}
    for run in runs:
        found = evaluate(out, run, truth)
        missing = [name for name in names if name not in found]
        if missing:
            raise CommandFailed(f"{out / 'evaluation' / str(run)}: no numbers of {missing[0]}")
        table = np.array([[np.nan if found[n][m] is None else found[n][m] for n in names] for m in METRICS], np.float64)
        table[METRICS.index("l1")] *= -1
        table[METRICS.index("flicker")] *= -1
        values[run.variant, run.seed] = table
    return values
