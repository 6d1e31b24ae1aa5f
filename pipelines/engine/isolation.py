"""A child process for work on untrusted files: when a decoder crashes, hangs or eats memory, only the child dies."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import psutil

# A tree of processes that is killed from outside may lose its children a moment before the parent. Waiting this long
# before a death is believed keeps such a kill from being counted against the file that was being read.
GRACE_SECONDS = 1.0
POLL_SECONDS = 0.25
PR_SET_PDEATHSIG = 1


class ChildDied(RuntimeError):
    """The child process ended without an answer: `reason` is "crashed", "timed_out" or "out_of_memory"."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ChildRaised(RuntimeError):
    """The work raised an exception that could not be carried over as itself; the text holds its traceback."""


def _serve(connection: Connection, parent: int) -> None:
    """The child's loop: take a function and its arguments, answer with what it returns or raises."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        try:
            work, arguments = connection.recv()
        except EOFError:
            return
        try:
            answer: tuple[bool, Any] = (True, work(*arguments))
        except BaseException as error:  # noqa: BLE001 - carried to the parent, which raises it
            answer = (False, _portable(error))
        connection.send(answer)


def _portable(error: BaseException) -> BaseException:
    """The exception itself when it survives pickling, else its traceback as text."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own object, to see whether it can be carried
    except Exception:  # noqa: BLE001 - pickling calls arbitrary __reduce__ code
        return ChildRaised("".join(traceback.format_exception(error)))
    return error


class IsolatedWorker:
    """Runs functions in one long-lived child process, which is replaced when it dies and after `recycle` calls.

    timeout: seconds for one call. memory: bytes of resident memory at which the child is ended (decoders leak, and a
    broken header can ask for anything). recycle: calls after which a fresh child is started.
    """

    def __init__(self, timeout: float, memory: int, recycle: int = 50) -> None:
        self.timeout = timeout
        self.memory = memory
        self.recycle = recycle
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection | None = None
        self._calls = 0
        self._lock = threading.Lock()

    def call(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Run `work(*arguments)` in the child. Both must pickle. Raises what it raises, or `ChildDied`."""
        with self._lock:
            if self._process is None or not self._process.is_alive() or self._calls >= self.recycle:
                self.close()
                self._start()
            assert self._connection is not None
            self._calls += 1
            try:
                self._connection.send((work, arguments))
                succeeded, answer = self._await()
            except BaseException:
                self.close()
                raise
        if succeeded:
            return answer
        raise answer

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, os.getpid()), daemon=True)
        self._process.start()
        theirs.close()
        self._connection = ours
        self._calls = 0

    def _await(self) -> tuple[bool, Any]:
        assert self._process is not None
        assert self._connection is not None
        watched = psutil.Process(self._process.pid)
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                if self._connection.poll(POLL_SECONDS):
                    return self._connection.recv()
            except (EOFError, ConnectionResetError):
                self._process.join(GRACE_SECONDS)
                time.sleep(GRACE_SECONDS)
                raise ChildDied("crashed", _describe(self._process.exitcode)) from None
            if time.monotonic() > deadline:
                raise ChildDied("timed_out", f"no result after {self.timeout:.0f} s")
            try:
                resident = watched.memory_info().rss
            except psutil.NoSuchProcess:
                continue
            if resident > self.memory:
                raise ChildDied(
                    "out_of_memory", f"needed {resident >> 20} MiB, more than the {self.memory >> 20} MiB allowed"
                )

    def close(self) -> None:
        """End the child, if there is one."""
        if self._process is not None:
            if self._process.is_alive():
                self._process.kill()
            self._process.join()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None


def _describe(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"the process that read it was killed by {signal.Signals(-exit_code).name}"
    return f"the process that read it ended with exit code {exit_code}"
