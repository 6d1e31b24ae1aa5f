"""One run at a time on an output place: a file lock in a folder, a lease in an object store.

Only order and clearness depend on it: commits are first-wins, so two runs at once would be wasteful, not wrong.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.engine.atomic import disk_full_as_such
from pipelines.engine.host import alive, this_host
from pipelines.engine.storage import StorageError, Store
from pipelines.engine.storage_object import ObjectStore

log = logging.getLogger(__name__)
KEY = "lock"
# A holder renews its lease this often. One that did not in LEASE_SECONDS is taken for dead.
RENEW_SECONDS = 10.0
LEASE_SECONDS = 45.0


class BadOutput(RuntimeError):
    """The output place cannot be made or written to."""


class Busy(RuntimeError):
    """Another run is at work on the same output place."""


@contextmanager
def only_run(work: Store) -> Iterator[Callable[[], bool]]:
    """Hold the work folder for one run at a time. Gives what tells whether it is still held: a lease can be lost, when
    the store was out of reach for long. Raises `Busy`, `BadOutput`, `StorageError`."""
    folder = work.local("")
    if folder is not None:
        with _file_lock(folder):
            yield lambda: True
    else:
        assert isinstance(work, ObjectStore)
        with _lease(work) as held:
            yield held


@contextmanager
def _file_lock(folder: Path) -> Iterator[None]:
    """The lock goes with the process, however that ends."""
    try:
        with disk_full_as_such(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock = (folder / KEY).open("a+")
    except OSError as error:
        raise BadOutput(f"cannot write to the output folder {folder.parent}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip()
            raise Busy(f"another run ({holder}) is at work on {folder.parent}: wait for it, or end it") from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {this_host()}")
        lock.flush()
        yield


@contextmanager
def _lease(store: ObjectStore) -> Iterator[Callable[[], bool]]:
    """An object that its holder rewrites again and again. No clocks are compared: whoever wants a lease that is held
    watches whether it changes."""
    token = uuid.uuid4().hex
    version = _take(store, token)
    ended, lost = threading.Event(), threading.Event()

    def renew() -> None:
        nonlocal version
        while not ended.wait(RENEW_SECONDS):
            try:
                renewed = store.put_if(KEY, _note(token), version)
            except StorageError as error:
                log.warning("the lease on %s could not be renewed: %s", store.url, error)
                continue
            if renewed is None:
                log.warning("another run took the lease on %s over", store.url)
                lost.set()
                return
            version = renewed

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield lambda: not lost.is_set()
    finally:
        ended.set()
        thread.join()
        try:
            if store.version(KEY) == version:
                store.delete(KEY)
        except StorageError as error:
            log.warning("the lease on %s stays behind: %s", store.url, error)


def _take(store: ObjectStore, token: str) -> str:
    if store.put_new(KEY, _note(token)):
        version = store.version(KEY)
        if version is not None:
            return version
    try:
        holder = json.loads(store.get(KEY))
    except FileNotFoundError:
        return _take(store, token)
    seen = store.version(KEY)
    if holder["host"] != this_host() or alive(holder["pid"]):
        log.warning("waiting to see whether process %s on %s still lives", holder["pid"], holder["host"])
        end = time.monotonic() + LEASE_SECONDS
        while time.monotonic() < end:
            time.sleep(1.0)
            now = store.version(KEY)
            if now is None:
                return _take(store, token)
            if now != seen:
                told = f"process {holder['pid']} on {holder['host']}"
                raise Busy(f"another run ({told}) is at work on {store.url}: wait for it, or end it")
    taken = store.put_if(KEY, _note(token), seen) if seen is not None else None
    return taken if taken is not None else _take(store, token)


def _note(token: str) -> bytes:
    return json.dumps({"token": token, "host": this_host(), "pid": os.getpid(), "beat": uuid.uuid4().hex}).encode()
