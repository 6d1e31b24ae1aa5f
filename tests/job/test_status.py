"""`vividpose status` and the log of a run: the numbers of the ledger, in a folder and in memory, during and after."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.cli import main
from pipelines.engine.ledger import Ledger, Outcome, Unit
from pipelines.engine.run_lock import only_run
from pipelines.engine.stage import run_unit
from pipelines.engine.storage import Store, open_store
from pipelines.job.progress import Progress, RunState
from pipelines.job.status import read_status


@pytest.fixture(params=["folder", "memory"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return open_store(tmp_path if request.param == "folder" else f"memory://{uuid.uuid4().hex}/out")


def unit(number: int) -> Unit:
    return Unit("body", "1", f"{number:064x}", f"clip of a person {number}", {}, {})


def work_some(out: Store) -> None:
    """A run that does five units of each kind of ending, and then looks as if killed."""
    ledger = Ledger(f"{out.url}/work")
    state = RunState(ledger.store, "run-1")
    with Progress(Console(quiet=True), state).phase("annotate", 40) as advance:
        for number in range(5):
            run_unit(ledger, unit(number), "run-1", lambda folder: Outcome(frames=10))
            run_unit(ledger, unit(100 + number), "run-1", lambda folder: Outcome("dropped", "crowd"))
            advance({"label": "x"})
            advance({"label": "y", "stop": "dropped"})
        with pytest.raises(ZeroDivisionError):
            run_unit(ledger, unit(200), "run-1", lambda folder: Outcome(frames=1 // 0))
    state.tell()
    from pipelines.engine.events import log_of

    log_of(ledger.store, "run-1").flush()


def test_status_counts_what_the_run_did(out: Store):
    work_some(out)
    told = read_status(out.url).to_json()
    assert told["stages"]["body"] | {"seconds": 0, "busy": 0} == {
        **{"done": 5, "dropped": 5, "failed": 1, "frames": 50, "workers": 1},
        **{"seconds": 0, "busy": 0},
    }
    assert (told["run"]["finished"], told["run"]["total"], told["run"]["endings"]) == (10, 40, {"dropped": 5})


def test_a_run_that_is_at_work_is_told_from_one_that_was_killed(tmp_path: Path):
    work_some(open_store(tmp_path))
    assert not read_status(tmp_path).at_work
    with only_run(open_store(tmp_path / "work")):
        assert read_status(tmp_path).at_work
    assert not read_status(tmp_path).at_work


def test_a_finished_run_says_so(out: Store):
    with RunState(open_store(f"{out.url}/work"), "run-1"):
        assert read_status(out.url).run["state"] == "running"
    assert read_status(out.url).run["state"] == "finished"


def test_a_run_that_ended_by_an_error_says_which(out: Store):
    with pytest.raises(ZeroDivisionError), RunState(open_store(f"{out.url}/work"), "run-1"):
        _ = 1 // 0
    assert read_status(out.url).run["state"] == "ended by ZeroDivisionError"


def test_the_log_names_units_and_holds_nothing_of_a_person(out: Store):
    work_some(out)
    [entry] = out.list_prefix("work/log")
    lines = [json.loads(line) for line in out.get(entry.key).splitlines()]
    assert {line["unit"] for line in lines if line["status"] == "done"} == {unit(number).id for number in range(5)}
    assert [line["reason"] for line in lines if line["status"] == "failed"] == ["ZeroDivisionError"]
    assert b"person" not in out.get(entry.key)


def test_the_command_prints_tables_and_json(tmp_path: Path, capsys: pytest.CaptureFixture):
    work_some(open_store(tmp_path))
    assert main(["status", str(tmp_path)]) == 0
    assert "was ended before it was finished" in " ".join(capsys.readouterr().out.split())
    assert main(["status", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stages"]["body"]["done"] == 5


def test_a_place_without_a_dataset_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main(["status", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}: is no output of `vividpose shards`")
