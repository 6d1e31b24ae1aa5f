"""Two threads that let work overlap: one makes items ahead of who uses them, one uses items behind who makes them."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")
_END = object()


class Ahead(Generic[T]):
    """Iterate over `items` while a thread makes up to `depth` of them in advance. An error in there comes out here.

    seconds: how long the making took. waited: how long who iterates had to wait. Close it to end the thread early.
    """

    def __init__(self, items: Iterable[T], depth: int = 8) -> None:
        self._items = items
        self._queue: queue.Queue[Any] = queue.Queue(depth)
        self._closed = threading.Event()
        self.seconds = 0.0
        self.waited = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True, name="ahead")
        self._thread.start()

    def _run(self) -> None:
        iterator = iter(self._items)
        try:
            while not self._closed.is_set():
                start = time.perf_counter()
                item = next(iterator, _END)
                self.seconds += time.perf_counter() - start
                self._put((item, None))
                if item is _END:
                    return
        except BaseException as error:  # noqa: BLE001 - carried to the thread that iterates, which raises it
            self._put((_END, error))

    def _put(self, item: Any) -> None:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=0.2)
                return
            except queue.Full:
                continue

    def __iter__(self) -> Iterator[T]:
        while True:
            start = time.perf_counter()
            item, error = self._queue.get()
            self.waited += time.perf_counter() - start
            if error is not None:
                raise error
            if item is _END:
                return
            yield item

    def close(self) -> None:
        self._closed.set()
        self._thread.join()


class Behind(Generic[T]):
    """Hands items to `use` in a thread, at most `depth` of them waiting. A context manager: at its end all are used.

    seconds: how long the using took. An error of `use` is raised by the next `put`, or at the end.
    """

    def __init__(self, use: Callable[[T], None], depth: int = 8) -> None:
        self._use = use
        self._queue: queue.Queue[Any] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self.seconds = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True, name="behind")

    def _run(self) -> None:
        while (item := self._queue.get()) is not _END:
            if self._error is not None or self._stop.is_set():
                continue
            start = time.perf_counter()
            try:
                self._use(item)
            except BaseException as error:  # noqa: BLE001 - carried to the thread that puts, which raises it
                self._error = error
            self.seconds += time.perf_counter() - start

    def put(self, item: T) -> None:
        if self._error is not None:
            raise self._error
        self._queue.put(item)

    def __enter__(self) -> Behind[T]:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if kind is not None:
            self._stop.set()
        self._queue.put(_END)
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error
