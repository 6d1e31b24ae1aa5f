"""The table: Markdown for people, JSON for programs, pictures to look at."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.engine.atomic import write_whole
from pipelines.settings import plain
from train.ablation.chart import bars, curves
from train.ablation.clips import REGIONS, ClipSet
from train.ablation.compare import Difference, all_differences, decibels
from train.ablation.fit import all_runs
from train.ablation.samples import METRICS, sample_values, spread_over_people, write_strips
from train.ablation.score import read_scores
from train.ablation.settings import AblationSettings
from train.ablation.variants import FULL, STRANGER, TITLES

COLUMNS = (*REGIONS, "whole picture")
SHOWN = ("face", "hands", "torso edge", "body", "background", "whole picture")
FACE = COLUMNS.index("face")
BY_OPENING = "face, by what the reference shows"
METRIC_TITLES = {"psnr": "PSNR, dB", "ssim": "SSIM", "l1": "L1", "flicker": "Flicker"}
STRIPS = 8


def write_report(
    out: Path, settings: AblationSettings, clips: ClipSet, seconds: Mapping[str, float], steps: tuple[int, int]
) -> Path:
    """Write `table.md`, `results.json`, `differences.png`, `losses.png` and `strips/` into OUT. Returns the table."""
    _, runs = all_runs(settings.seeds)
    scores = {(run.variant, run.seed): read_scores(run, out) for run in runs}
    levels = {key: decibels(one.errors) for key, one in scores.items()}  # (sigmas, windows, regions)
    found: dict[str, Any] = {}
    tables = []
    # The full model with a stranger's code is compared as if it were a variant.
    for (variant, seed), one in scores.items():
        if variant == FULL and one.mistaken is not None:
            levels[STRANGER, seed] = decibels(one.mistaken)
    mean = {key: value.mean(axis=0).T for key, value in levels.items()}
    found["mean of sigmas"] = _compared(mean, COLUMNS, clips, settings.resamples)
    openings = sorted(set(clips.openings))
    begun = np.array(clips.openings)
    faces = {key: np.stack([np.where(begun == name, value[FACE], np.nan) for name in openings])
             for key, value in mean.items()}  # fmt: skip
    found[BY_OPENING] = _compared(faces, openings, clips, settings.resamples)
    for number, sigma in enumerate(settings.sigmas):
        each = {key: value[number].T for key, value in levels.items()}
        found[f"sigma {sigma:g}"] = _compared(each, COLUMNS, clips, settings.resamples)
    sampled = {key: decibels(one.sampled).T for key, one in scores.items()}
    found["samples by region"] = _compared(sampled, COLUMNS, clips, settings.resamples)
    metrics = sample_values(out, runs, clips)
    found["samples"] = _compared(metrics, METRICS, clips, settings.resamples)
    for name, part in found.items():
        columns = {"samples": METRICS, BY_OPENING: openings}.get(name, SHOWN)
        tables.append(f"### {_title(name)}\n\n{_table(part, columns)}\n")
    text = f"{_heading(settings, clips, seconds, steps)}\n" + "\n".join(tables)
    results = {
        "settings": plain(settings), "steps": {"base": steps[0], "variant": steps[1]}, "seconds": dict(seconds),
        "windows": len(clips), "people": len(set(clips.people)), "films": len(set(clips.films)), "found": _plain(found),
    }  # fmt: skip
    write_whole(out / "results.json", (json.dumps(results, indent=1) + "\n").encode())
    bars(out / "differences.png", found["mean of sigmas"]["worse"], COLUMNS, SHOWN)
    curves(out / "losses.png", {str(run): np.load(run.folder(out) / "losses.npy", allow_pickle=False) for run in runs})
    write_strips(out, clips, 0, spread_over_people(clips, STRIPS))
    write_whole(out / "table.md", text.encode())
    return out / "table.md"


def _compared(
    values: Mapping[tuple[str, int], NDArray[np.float64]], columns: Sequence[str], clips: ClipSet, resamples: int
) -> dict[str, Any]:
    seeds = [value for (variant, _), value in values.items() if variant == FULL]
    level = np.nanmean(np.stack(seeds), axis=(0, 2))
    worse = all_differences(values, FULL, clips.people, resamples)
    return {
        "full": dict(zip(columns, level.tolist(), strict=True)),
        "worse": {variant: dict(zip(columns, row, strict=True)) for variant, row in worse.items()},
    }


def _table(part: Mapping[str, Any], columns: Sequence[str]) -> str:
    lines = [
        "| | " + " | ".join(METRIC_TITLES.get(column, column) for column in columns) + " |",
        "|---|" + "---|" * len(columns),
        f"| {TITLES[FULL]}: level | " + " | ".join(_level(column, part["full"][column]) for column in columns) + " |",
    ]
    for variant, worse in part["worse"].items():
        cells = [_cell(worse[column], column) for column in columns]
        lines.append(f"| {TITLES[variant]}: worse by | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _level(column: str, value: float) -> str:
    if np.isnan(value):
        return "-"
    return f"{abs(value):.4f}" if column in ("ssim", "l1", "flicker") else f"{value:.2f}"


def _cell(one: Difference, column: str) -> str:
    digits = 4 if column in ("ssim", "l1", "flicker") else 2
    if not one.windows:
        return "-"
    interval = "no interval" if np.isnan(one.low) else f"{one.low:+.{digits}f}, {one.high:+.{digits}f}"
    told = f"{one.mean:+.{digits}f} [{interval}]"
    return f"**{told}**" if one.sure else told


def _title(name: str) -> str:
    if name == "samples":
        return "Samples: metrics of `vividpose evaluate` (protocol corrected)"
    if name == BY_OPENING:
        return "Denoising error of the face, PSNR in dB, mean of sigmas: by what the reference shows of it"
    if name == "samples by region":
        return "Samples: PSNR by region, dB"
    return f"Denoising error, PSNR in dB: {name}"


def _heading(settings: AblationSettings, clips: ClipSet, seconds: Mapping[str, float], steps: tuple[int, int]) -> str:
    total = sum(seconds.values())
    parts = ", ".join(f"{name} {value / 60:.1f}" for name, value in seconds.items())
    return (
        f"# Ablation on the benchmark with ground truth\n\n"
        f"Data seed {settings.data.seed}, {settings.seeds} seeds of training, {steps[0]} common steps and {steps[1]} "
        f"steps of each variant, {settings.batch} clips of {settings.clips.frames} frames a step, "
        f"{settings.clips.size}x{settings.clips.size}. Test: {len(clips)} windows of {len(set(clips.films))} films of "
        f"{len(set(clips.people))} people, none of them seen in training, nor their motions.\n\n"
        f"Minutes: {total / 60:.1f} ({parts}).\n\n"
        "A number is how much worse the variant is than the full model, mean over test windows and seeds, with the "
        "95 % interval of a paired bootstrap over people; above 0: the full model is better. **Bold**: the interval "
        "leaves out 0 and every seed has the same sign.\n"
    )


def _plain(found: Any) -> Any:
    """As JSON knows it, which has no NaN."""
    if isinstance(found, Difference):
        return _plain({**asdict(found), "sure": found.sure})
    if isinstance(found, dict):
        return {key: _plain(value) for key, value in found.items()}
    if isinstance(found, tuple):
        return [_plain(value) for value in found]
    return None if isinstance(found, float) and np.isnan(found) else found
