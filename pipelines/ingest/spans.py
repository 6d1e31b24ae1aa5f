"""Cutting shots into clips of bounded length in one pass, without knowing how long a shot will be."""

from __future__ import annotations

from collections import deque
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Sink(Protocol[T_contra]):
    """Where the frames of clips go: `begin` once, `add` for every frame, `end` once; `drop` for frames of no clip."""

    def begin(self) -> None: ...

    def add(self, frame: T_contra) -> None: ...

    def end(self) -> None: ...

    def drop(self, first: T_contra, count: int) -> None: ...


class Splitter(Generic[T]):
    """Sends every frame of every shot of at least `shortest` frames to exactly one clip of `shortest` to `longest`
    frames, in order; shorter shots are dropped whole.

    A clip is closed at `longest - shortest` frames if the shot is known to go on for more than `shortest`; otherwise it
    runs to the end of the shot. Holds at most `shortest + 1` frames.
    """

    def __init__(self, shortest: int, longest: int, sink: Sink[T]) -> None:
        if shortest < 1 or longest < 2 * shortest:
            raise ValueError(
                f"the longest clip must be at least twice the shortest, got {shortest} and {longest} frames"
            )
        self._shortest, self._body = shortest, longest - shortest
        self._sink = sink
        self._pending: deque[T] = deque()
        self._written = 0

    def push(self, frame: T, starts_shot: bool) -> None:
        if starts_shot:
            self.end_shot()
        self._pending.append(frame)
        while self._written or len(self._pending) >= self._shortest:
            self._write(self._body)
            if self._written < self._body or len(self._pending) <= self._shortest:
                return
            self._end()

    def end_shot(self) -> None:
        """What is held belongs to no later frame. Call it at the end of the video too."""
        if self._written:
            self._write(self._written + len(self._pending))
            self._end()
        elif self._pending:
            self._sink.drop(self._pending[0], len(self._pending))
            self._pending.clear()

    def _write(self, up_to: int) -> None:
        while self._pending and self._written < up_to:
            if self._written == 0:
                self._sink.begin()
            self._sink.add(self._pending.popleft())
            self._written += 1

    def _end(self) -> None:
        self._sink.end()
        self._written = 0
