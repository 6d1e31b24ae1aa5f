"""All phases, each going on where it was: data, clips, runs, report."""

from __future__ import annotations

import fcntl
import json
import logging
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch
import yaml

from model.config import load_config
from model.encoders import TINY, load_encoders
from pipelines.engine.atomic import write_whole
from pipelines.settings import BadSettings, build, load_yaml, plain
from train.ablation.clips import ClipSet, load_clips, read_clips, save_clips
from train.ablation.data import SPLITS, command, kept_seconds, make_data
from train.ablation.fit import Fitting, RunName, all_runs, fast_attention, fit, open_device
from train.ablation.report import write_report
from train.ablation.score import SCORES, read_scores, score, told
from train.ablation.settings import AblationSettings, checked
from train.ablation.variants import FULL
from train.settings import differences

log = logging.getLogger(__name__)
SETTINGS = "settings.yaml"
FREE = ("jobs", "resamples", "seeds")
"""Settings that may differ when a folder is gone on with: more seeds are added to those that are there."""
TIMED_STEPS, WARM_STEPS = 24, 4


def run_ablation(out: Path, settings: AblationSettings, minutes: float | None = None) -> Path:
    """From nothing to OUT/table.md, which is returned. minutes: of training; the numbers of steps then follow from how
    fast this machine is, in the relation that the settings have them.

    Raises `BadSettings` where OUT was begun with other settings, `CommandFailed`, `BadTruth`.
    """
    settings = checked(settings)
    _check_model(settings)
    jobs = settings.jobs or (1 if torch.cuda.is_available() else 2)
    begin(out, settings)
    seconds = make_data(out, settings.data)
    began = time.monotonic()
    test = _clips(out, settings)["test"]
    seconds["clips"] = kept_seconds(out, "clips", time.monotonic() - began)
    settings = _timed(out, settings, minutes, jobs)
    began = time.monotonic()
    bases, variants = all_runs(settings.seeds)
    _train(out, bases if settings.base_steps else [], jobs)
    _train(out, variants, jobs)
    seconds["training and scores"] = kept_seconds(out, "training", time.monotonic() - began)
    return write_report(out, settings, test, seconds, (settings.base_steps, settings.steps))


def begin(out: Path, settings: AblationSettings) -> None:
    """Keep the settings in OUT, or raise `BadSettings` where it was begun with others."""
    path = out / SETTINGS
    if not path.is_file():
        write_whole(path, yaml.safe_dump(plain(settings), sort_keys=False).encode())
        return
    asked = json.loads(json.dumps(plain(settings)))
    changed = [line for line in differences(load_yaml(path), asked) if line.split(":")[0] not in FREE]
    if changed:
        raise BadSettings(
            f"{out} was begun with other settings ({'; '.join(changed)}): give them again, or another --out"
        )


def _check_model(settings: AblationSettings) -> None:
    """Before the data is made: that there is such a model, and that it takes these clips."""
    config, clips = load_config(settings.model), settings.clips
    if clips.size % config.size_multiple:
        raise BadSettings(f"clips.size {clips.size}: the model {config.name} takes multiples of {config.size_multiple}")


def opened(out: Path) -> AblationSettings:
    """The settings of a folder, with the numbers of steps that were timed."""
    settings = build(AblationSettings, load_yaml(out / SETTINGS), str(out / SETTINGS))
    path = out / "steps.json"
    return replace(settings, **json.loads(path.read_text())) if path.is_file() else settings


def work(out: Path, run: RunName) -> None:
    """A run and its scores, in this process: what is there is not done again."""
    settings = opened(out)
    folder = run.folder(out)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        # A killed command may have left its worker behind: the next one waits for it, and finds it done.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "fitted.json").is_file():
            fit(run, out, settings, load_clips(out / "clips" / "train.safetensors"))
        if not (folder / SCORES).is_file():
            score(run, out, settings, load_clips(out / "clips" / "test.safetensors"))
    log.info("%s: denoising PSNR, dB: %s", run, told(read_scores(run, out), settings))


def seconds_per_step(out: Path) -> float:
    """Of the full variant, measured in this process."""
    settings = replace(opened(out), base_steps=0, steps=TIMED_STEPS)
    device = open_device()
    clips = load_clips(out / "clips" / "train.safetensors")
    fitting = Fitting(RunName(FULL, 0), out, settings, device)
    with fast_attention(device):
        for step in range(WARM_STEPS):
            fitting.step(step, clips)
        began = time.monotonic()
        for step in range(WARM_STEPS, TIMED_STEPS):
            fitting.step(step, clips)
    return (time.monotonic() - began) / (TIMED_STEPS - WARM_STEPS)


def _clips(out: Path, settings: AblationSettings) -> dict[str, ClipSet]:
    image = None
    found = {}
    for split in SPLITS:
        path = out / "clips" / f"{split}.safetensors"
        if not path.is_file():
            image = image or load_encoders(TINY).image
            windows = settings.clips.windows if split == "train" else settings.clips.test_windows
            data = out / "shards" / split
            save_clips(path, read_clips(data, out / "films", settings.clips, windows, image, regions=split == "test"))
        found[split] = load_clips(path)
        log.info("%s: %d windows of %d people", split, len(found[split]), len(set(found[split].people)))
    return found


def _timed(out: Path, settings: AblationSettings, minutes: float | None, jobs: int) -> AblationSettings:
    """With the numbers of steps that `minutes` allow, measured once with all jobs at work."""
    path = out / "steps.json"
    if not path.is_file():
        steps = {"base_steps": settings.base_steps, "steps": settings.steps}
        if minutes is not None:
            files = [out / "timing" / f"{number}.json" for number in range(jobs)]
            arguments = [["--out", str(out), "--time", str(file)] for file in files]
            with ThreadPoolExecutor(jobs) as pool:
                list(pool.map(_worker, arguments, [file.with_suffix(".log") for file in files]))
            slowest = max(float(json.loads(file.read_text())) for file in files)
            steps = steps_for(minutes, slowest, settings, jobs)
            log.info("%.2f s a step: %s", slowest, steps)
        write_whole(path, json.dumps(steps).encode())
    return replace(settings, **json.loads(path.read_text()))


def steps_for(minutes: float, seconds: float, settings: AblationSettings, jobs: int) -> dict[str, int]:
    """Numbers of steps whose runs fill `minutes` at `seconds` a step, in the relation that the settings have."""
    bases, variants = all_runs(settings.seeds)
    ratio = settings.base_steps / settings.steps
    rounds = -(-len(variants) // jobs) + ratio * -(-len(bases) // jobs)
    steps = max(1, int(minutes * 60 / seconds / rounds))
    return {"base_steps": round(ratio * steps), "steps": steps}


def _train(out: Path, runs: Sequence[RunName], jobs: int) -> None:
    left = [run for run in runs if not (run.folder(out) / SCORES).is_file()]
    arguments = [["--out", str(out), "--run", str(run)] for run in left]
    logs = [run.folder(out) / "log.txt" for run in left]
    with ThreadPoolExecutor(jobs) as pool:
        for run, _ in zip(left, pool.map(_worker, arguments, logs)):
            log.info("%s is done", run)


def _worker(arguments: Sequence[str], told: Path) -> None:
    command([sys.executable, "-m", "train.ablation", *arguments], told)
