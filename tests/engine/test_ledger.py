"""The ledger's promises: one record a unit, attempts that survive a kill, garbage that is told from work."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from pipelines.engine.atomic import DiskFull
from pipelines.engine.isolation import ChildDied
from pipelines.engine.ledger import Ledger, Outcome, Unit
from pipelines.engine.stage import MAX_CRASHES, run_unit

UNIT = Unit("stage", "1", "ab" * 32, "a clip", {"threshold": 1}, {"clip": "x"})


def writes(text: str):
    def work(folder: Path) -> Outcome:
        (folder / "result.txt").write_text(text)
        return Outcome(frames=3)

    return work


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "work"


@pytest.fixture
def ledger(work: Path) -> Ledger:
    return Ledger(work)


def test_a_finished_unit_is_not_done_again(ledger: Ledger):
    first = run_unit(ledger, UNIT, "run-1", writes("first"))
    again = run_unit(ledger, UNIT, "run-2", writes("second"))
    assert again == first
    assert (ledger.folder_of(again) / "result.txt").read_text() == "first"


def test_a_record_read_back_equals_the_one_written(ledger: Ledger):
    written = run_unit(ledger, UNIT, "run-1", writes("x"))
    assert ledger.record("stage", UNIT.id) == written


def test_a_record_names_its_files_with_their_hashes(ledger: Ledger):
    record = run_unit(ledger, UNIT, "run-1", writes("x"))
    assert record.files == {
        "result.txt": {"sha256": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881", "bytes": 1}
    }


def test_the_first_of_two_writers_wins(ledger: Ledger):
    slow = ledger.open_folder(ledger.begin(UNIT, "run-2"))
    (slow / "result.txt").write_text("slow")
    fast = run_unit(ledger, UNIT, "run-1", writes("fast"))
    late = ledger.commit(UNIT, Outcome(), slow, seconds=0, attempt=1, run="run-2")
    assert late == fast
    assert not slow.exists()


def test_a_dropped_unit_keeps_its_reason_and_no_files(ledger: Ledger):
    def work(folder: Path) -> Outcome:
        (folder / "half.txt").write_text("x")
        return Outcome("dropped", "crowd", scores={"people": 7.0})

    record = run_unit(ledger, UNIT, "run-1", work)
    assert (record.status, record.outcome.reason, record.outcome.scores) == ("dropped", "crowd", {"people": 7.0})
    assert [entry.key for entry in ledger.store.list_prefix("units")] == []


def test_a_child_that_dies_every_time_quarantines_the_unit_with_its_reason(ledger: Ledger):
    calls = []

    def work(folder: Path) -> Outcome:
        calls.append(folder)
        raise ChildDied("timed_out", "no result after 5 s")

    record = run_unit(ledger, UNIT, "run-1", work)
    assert (record.status, record.outcome.reason, len(calls)) == ("quarantined", "timed_out", MAX_CRASHES)


def test_a_child_that_dies_once_is_tried_again(ledger: Ledger):
    deaths = [ChildDied("crashed", "SIGSEGV")]

    def work(folder: Path) -> Outcome:
        if deaths:
            raise deaths.pop()
        return Outcome()

    record = run_unit(ledger, UNIT, "run-1", work)
    assert (record.status, record.attempt) == ("done", 2)


SPAWN = multiprocessing.get_context("spawn")  # a fork of a process with threads may stand still


def _die(work: Path, run: str) -> None:
    def suicide(folder: Path) -> Outcome:
        os.kill(os.getpid(), signal.SIGKILL)
        return Outcome()

    run_unit(Ledger(work), UNIT, run, suicide)


def _die_in_child(work: Path, run: str) -> int | None:
    process = SPAWN.Process(target=_die, args=(work, run))
    process.start()
    process.join()
    return process.exitcode


def test_a_unit_that_kills_its_own_process_is_quarantined_within_the_run(ledger: Ledger, work: Path):
    for _ in range(MAX_CRASHES):
        assert _die_in_child(work, "run-1") == -signal.SIGKILL
    record = run_unit(ledger, UNIT, "run-1", writes("never"))
    assert (record.status, record.outcome.reason) == ("quarantined", "crashed")


def test_runs_killed_as_a_whole_are_not_held_against_a_unit(ledger: Ledger, work: Path):
    for number in range(10):
        _die_in_child(work, f"run-{number}")
    assert ledger.sweep()[1] == {UNIT.id: 10}
    assert run_unit(ledger, UNIT, "run-x", writes("x")).status == "done"


def test_a_full_disk_leaves_no_attempt_and_no_record(ledger: Ledger):
    def work(folder: Path) -> Outcome:
        with open("/dev/full", "w") as full:
            full.write("x")
        return Outcome()

    with pytest.raises(DiskFull, match="free some room"):
        run_unit(ledger, UNIT, "run-1", work)
    assert ledger.record("stage", UNIT.id) is None
    assert ledger.begin(UNIT, "run-1").number == 1


def test_an_unexpected_error_goes_up_and_commits_nothing(ledger: Ledger):
    def work(folder: Path) -> Outcome:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_unit(ledger, UNIT, "run-1", work)
    assert ledger.record("stage", UNIT.id) is None


def _open_folder(work: Path, unit: Unit) -> None:
    ledger = Ledger(work)
    ledger.open_folder(ledger.begin(unit, "run-1"))


def test_garbage_of_a_dead_process_goes_and_committed_work_stays(ledger: Ledger, work: Path):
    record = run_unit(ledger, UNIT, "run-1", writes("x"))
    other = Unit("stage", "1", "cd" * 32, "another", {}, {})
    process = SPAWN.Process(target=_open_folder, args=(work, other))
    process.start()
    process.join()
    assert ledger.sweep()[0] == 1
    assert ledger.folder_of(record).is_dir()
    assert [path.name for path in (work / "units/stage").glob("*/*")] == [Path(record.folder or "").name]


def test_folders_of_a_living_process_are_no_garbage(ledger: Ledger):
    folder = ledger.open_folder(ledger.begin(UNIT, "run-1"))
    assert ledger.sweep()[0] == 0
    assert folder.is_dir()


def test_no_mark_is_left_of_a_finished_unit(ledger: Ledger):
    deaths = [ChildDied("crashed", "SIGSEGV")]

    def work(folder: Path) -> Outcome:
        if deaths:
            raise deaths.pop()
        return Outcome()

    run_unit(ledger, UNIT, "run-1", work)
    assert list(ledger.store.list_prefix("attempts")) == []


def _commit_some(work: Path, numbers: range) -> None:
    for number in numbers:
        unit = Unit("stage", "1", hashlib.sha256(b"%d" % number).hexdigest(), str(number), {}, {})
        run_unit(Ledger(work), unit, f"run-{os.getpid()}", writes(str(os.getpid())))


def test_many_processes_commit_at_once_and_each_unit_has_one_winner(work: Path, ledger: Ledger):
    writers = [SPAWN.Process(target=_commit_some, args=(work, range(30))) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    records = list(ledger.records("stage"))
    assert len(records) == 30
    assert {f"{r.folder}/result.txt" for r in records} == {entry.key for entry in ledger.store.list_prefix("units")}


def test_a_reopened_unit_is_done_again(ledger: Ledger):
    run_unit(ledger, UNIT, "run-1", lambda folder: Outcome("quarantined", "crashed"))
    assert ledger.reopen("stage", UNIT.id)
    assert run_unit(ledger, UNIT, "run-2", writes("x")).status == "done"


def test_a_damaged_record_is_named(ledger: Ledger, work: Path):
    run_unit(ledger, UNIT, "run-1", writes("x"))
    path = next((work / "commits").rglob("*.json"))
    path.write_text("{")
    with pytest.raises(ValueError, match=path.name):
        ledger.record("stage", UNIT.id)
