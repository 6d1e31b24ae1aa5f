"""An evaluation that was killed goes on with what it had measured."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.evaluate.run import PARTIAL, Request, evaluate
from tests.evaluate.videos import write_set

ROOT = Path(__file__).resolve().parents[2]
LENGTHS = {f"v{number}": 12 for number in range(12)}
PATIENCE = 120.0


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_set(tmp_path_factory.mktemp("sets"), LENGTHS)


def request_of(folders: tuple[Path, Path], out: Path) -> Request:
    return Request(*folders, out, metrics=("psnr", "ssim", "warp_error"))


def killed(request: Request, after: int) -> int:
    """Run the command and kill it when `after` pairs are measured; returns how many were."""
    command = [sys.executable, "-m", "pipelines.cli", "evaluate", str(request.generated), str(request.truth), "--out",
               str(request.out), "--metrics", ",".join(request.metrics)]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
    until = time.monotonic() + PATIENCE
    while len(list((request.out / PARTIAL).glob("*.npz"))) < after:
        assert process.poll() is None, "the command ended before it could be killed"
        assert time.monotonic() < until, "no pair was measured"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return len(list((request.out / PARTIAL).glob("*.npz")))


def gone_on(request: Request) -> tuple[list[int], list[dict[str, object]]]:
    """The counts that were told as done, and the numbers."""
    told: list[int] = []
    done = evaluate(request, lambda count, total: told.append(count))
    return told, [number.as_json() for number in done.numbers]


def test_a_killed_evaluation_measures_only_what_is_left_and_gives_the_same_numbers(
    folders: tuple[Path, Path], tmp_path: Path
):
    _, whole = gone_on(request_of(folders, tmp_path / "whole"))
    request = request_of(folders, tmp_path / "killed")
    before = killed(request, 2)
    told, numbers = gone_on(request)
    assert told == list(range(before + 1, len(LENGTHS) + 1))
    assert numbers == whole


def left_over(folders: tuple[Path, Path], out: Path) -> Request:
    """An evaluation whose last pair cannot be measured, so that the others are left."""
    request = request_of(folders, out)
    with pytest.raises(RuntimeError):
        evaluate(request, lambda count, total: (_ for _ in ()).throw(RuntimeError) if count == total else None)
    assert len(list((out / PARTIAL).glob("*.npz"))) == len(LENGTHS)
    return request


def test_a_video_that_changed_is_measured_again(folders: tuple[Path, Path], tmp_path: Path):
    ours = Path(shutil.copytree(folders[0], tmp_path / "ours"))
    request = left_over((ours, folders[1]), tmp_path / "out")
    os.utime(ours / "v3" / "7.png", ns=(1, 1))
    assert gone_on(request)[0] == [len(LENGTHS)]


def test_other_ways_of_measuring_take_nothing_of_an_earlier_run(folders: tuple[Path, Path], tmp_path: Path):
    request = left_over(folders, tmp_path / "out")
    told, numbers = gone_on(replace(request, size=(24, 24)))
    assert len(told) == len(LENGTHS)
    assert all(np.isfinite(number["value"]) for number in numbers)  # type: ignore[call-overload]


def test_nothing_is_left_of_the_work_when_it_ends(folders: tuple[Path, Path], tmp_path: Path):
    gone_on(left_over(folders, tmp_path / "out"))
    assert not (tmp_path / "out" / PARTIAL).exists()


def test_that_pairs_were_measured_before_is_told(folders: tuple[Path, Path], tmp_path: Path):
    request = left_over(folders, tmp_path / "out")
    told = "12 of 12 pairs were measured by an earlier run that did not end"
    assert told in evaluate(request).notes
    assert told not in evaluate(request).notes
