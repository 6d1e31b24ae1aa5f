"""When a run should end, and who may work in its folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from train.run_folder import Lock, RunFolderBusy, code_version
from train.stopping import SIGNALS, Stopping


@pytest.fixture(autouse=True)
def own_signals(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_without_a_reason_a_run_goes_on(tmp_path: Path):
    assert Stopping(tmp_path / "stop").reason() is None


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_a_reason(tmp_path: Path, number: signal.Signals):
    stopping = Stopping(tmp_path / "stop")
    stopping.listen()
    os.kill(os.getpid(), number)
    assert stopping.reason() == number.name


def test_the_file_is_a_reason(tmp_path: Path):
    stopping = Stopping(tmp_path / "stop")
    (tmp_path / "stop").touch()
    assert stopping.reason() == f"the file {tmp_path / 'stop'}"


def test_a_time_limit_is_a_reason_when_it_is_over(tmp_path: Path):
    assert Stopping(tmp_path / "stop", seconds=3600).reason() is None
    assert Stopping(tmp_path / "stop", seconds=0).reason() == "the time limit"


def test_slurms_limit_leaves_time_for_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 1000))
    stopping = Stopping(tmp_path / "stop")
    assert stopping.reason() is None
    stopping.took("checkpoint", 400.0)
    assert stopping.reason() == "the time limit"


def test_the_earlier_of_two_limits_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 10_000))
    assert Stopping(tmp_path / "stop", seconds=0.0).reason() == "the time limit"


def test_a_folder_has_one_run_and_the_second_learns_who_it_is(tmp_path: Path):
    lock = Lock(tmp_path)
    with pytest.raises(RunFolderBusy, match=f"process {os.getpid()}"):
        Lock(tmp_path)
    lock.release()
    Lock(tmp_path).release()


def test_a_process_that_was_killed_leaves_no_lock(tmp_path: Path):
    script = "import sys, time; from pathlib import Path; from train.run_folder import Lock; "
    script += "lock = Lock(Path(sys.argv[1])); print('held', flush=True); time.sleep(600)"
    root = Path(__file__).resolve().parents[2]
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=root
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(RunFolderBusy):
        Lock(tmp_path)
    holder.kill()
    holder.communicate()
    Lock(tmp_path).release()


def test_the_code_version_names_the_package():
    assert code_version()["package"] != "unknown"
