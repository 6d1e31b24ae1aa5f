"""The child process for untrusted work: it may crash, hang or grow; the parent goes on and knows why."""

from __future__ import annotations

import os
import signal
import time

import pytest

from pipelines.engine.isolation import ChildDied, IsolatedWorker


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def grow() -> int:
    held = bytearray(600 << 20)
    held[:: 1 << 12] = b"x" * len(held[:: 1 << 12])
    time.sleep(30)
    return len(held)


def fail() -> None:
    raise KeyError("a key")


@pytest.fixture
def worker():
    worker = IsolatedWorker(timeout=60, memory=512 << 20)
    yield worker
    worker.close()


def test_a_result_comes_back(worker: IsolatedWorker):
    assert worker.call(divmod, 7, 2) == (3, 1)


def test_the_child_is_another_process_and_is_used_again(worker: IsolatedWorker):
    first, second = worker.call(os.getpid), worker.call(os.getpid)
    assert first == second != os.getpid()


def test_an_exception_comes_back_as_itself_with_its_traceback(worker: IsolatedWorker):
    with pytest.raises(KeyError, match="a key") as caught:
        worker.call(fail)
    assert "in fail" in "".join(caught.value.__notes__)


def test_a_crash_is_told_with_its_signal(worker: IsolatedWorker):
    with pytest.raises(ChildDied, match="SIGSEGV") as caught:
        worker.call(crash)
    assert caught.value.reason == "crashed"


def test_after_a_crash_the_next_call_works(worker: IsolatedWorker):
    with pytest.raises(ChildDied):
        worker.call(crash)
    assert worker.call(divmod, 7, 2) == (3, 1)


def test_work_that_hangs_is_ended():
    worker = IsolatedWorker(timeout=3, memory=512 << 20)
    with pytest.raises(ChildDied) as caught:
        worker.call(time.sleep, 60)
    assert caught.value.reason == "timed_out"


def test_work_that_grows_past_its_memory_is_ended(worker: IsolatedWorker):
    with pytest.raises(ChildDied) as caught:
        worker.call(grow)
    assert caught.value.reason == "out_of_memory"


def test_the_child_is_replaced_after_its_share_of_calls():
    worker = IsolatedWorker(timeout=60, memory=512 << 20, recycle=1)
    first, second = worker.call(os.getpid), worker.call(os.getpid)
    worker.close()
    assert first != second
