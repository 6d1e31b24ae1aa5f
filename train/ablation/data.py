"""From nothing to shards with identity codes, by the commands that a person would type."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipelines.engine.atomic import write_whole
from train.ablation.settings import DataSettings

log = logging.getLogger(__name__)
SPLITS = ("train", "test")
TOLD = 12
"""Lines of a command that failed which are shown."""


class CommandFailed(RuntimeError):
    """A command of the data engine ended with an error."""


def make_data(out: Path, settings: DataSettings) -> dict[str, float]:
    """Films into OUT/films, shards into OUT/shards/{train,test}. Each command goes on where it was killed. Returns the
    seconds of each, and keeps them: what is done is not started again.

    Raises `CommandFailed`.
    """
    films = out / "films"
    seconds = {"films": _once(out, "films", [
        "groundtruth", "make", str(films), "--seed", str(settings.seed), "--train-people", str(settings.train_people),
        "--test-people", str(settings.test_people), "--clips-per-person", str(settings.clips_per_person), "--frames",
        str(settings.frames), "--size", str(settings.size), "--workers", str(settings.workers),
    ])}  # fmt: skip
    began = time.monotonic()
    with ThreadPoolExecutor(min(settings.workers, len(SPLITS))) as pool:
        made = sum(pool.map(lambda split: _made_shards(out, films, split), SPLITS))
    # At once, so that the time of both together counts; nothing, when there was nothing to do.
    seconds["shards"] = kept_seconds(out, "shards", min(made, time.monotonic() - began))
    return seconds


def _made_shards(out: Path, films: Path, split: str) -> float:
    shards = str(out / "shards" / split)
    return _once(out, f"shards-{split}", [
        "shards", str(films / "videos" / split), "--out", shards, "--profile", "lite", "--executor", "inline",
        "--set", "ingest.min_side=64", "--set", "ingest.min_seconds=0.5", "--set", "people.minimum_side=32",
        "--set", "people.minimum_present=0.6",
    ]) + _once(out, f"identities-{split}", ["groundtruth", "identities", str(films), shards])  # fmt: skip


def kept_seconds(out: Path, name: str, seconds: float) -> float:
    """How long a part took the first time, which was when its work was done; of a killed one, its last part."""
    path = out / "done" / f"{name}.json"
    if path.is_file():
        return float(json.loads(path.read_text())["seconds"])
    write_whole(path, json.dumps({"seconds": seconds}).encode())
    return seconds


def _once(out: Path, name: str, arguments: Sequence[str]) -> float:
    """Run `vividpose` unless it is done already; the seconds that it took."""
    marker = out / "done" / f"{name}.json"
    if marker.is_file():
        return float(json.loads(marker.read_text())["seconds"])
    log.info("%s: vividpose %s", name, " ".join(arguments))
    began = time.monotonic()
    command([sys.executable, "-m", "pipelines.cli", *arguments], marker.with_suffix(".log"))
    return kept_seconds(out, name, time.monotonic() - began)


def command(arguments: Sequence[str], told: Path) -> None:
    """Run a process to its end, what it says goes into `told`. Raises `CommandFailed` with its last lines."""
    told.parent.mkdir(parents=True, exist_ok=True)
    root = Path(__file__).resolve().parents[2]
    paths = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    with told.open("w", encoding="utf-8") as stream:
        done = subprocess.run(
            arguments, stdout=stream, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONPATH": paths}, check=False
        )
    if done.returncode:
        last = "\n".join(told.read_text(encoding="utf-8", errors="replace").splitlines()[-TOLD:])
        raise CommandFailed(f"{' '.join(arguments)} ended with {done.returncode}; its last lines, of {told}:\n{last}")
