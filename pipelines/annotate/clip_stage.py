"""What a stage of the annotate phase sees of a clip, and what it must offer."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipelines.clip import Frames
from pipelines.engine.ledger import Outcome
from pipelines.video.reader import ClipReader

CHUNK = 16


@dataclass
class DecodedFrames:
    """The frames of one clip, decoded once for all stages of a pool while they fit, else again for each.

    budget: bytes of frames to keep. A 20 s clip at 30 fps and 512x768 is 708 MB.
    """

    video: Path
    budget: int
    _kept: list[Frames] | None = field(default=None, repr=False)
    _ahead: threading.Thread | None = field(default=None, repr=False)

    def read_ahead(self) -> None:
        """Begin to decode in a thread, for a clip whose turn comes next."""
        self._ahead = threading.Thread(target=lambda: deque(self._decode(CHUNK), maxlen=0), daemon=True)
        self._ahead.start()

    def chunks(self, size: int = CHUNK) -> Iterator[Frames]:
        """uint8 (n, H, W, 3) RGB pieces in order, n <= size."""
        if self._ahead is not None:
            self._ahead.join()
            self._ahead = None
        if self._kept is not None:
            yield from _regroup(self._kept, size)
        else:
            yield from self._decode(size)

    def _decode(self, size: int) -> Iterator[Frames]:
        keeping: list[Frames] | None = []
        held = 0
        with ClipReader(self.video) as reader:
            for chunk in reader.chunks(size):
                if keeping is not None:
                    held += chunk.nbytes
                    keeping.append(chunk)
                    if held > self.budget:
                        keeping = None
                yield chunk
        self._kept = keeping


def _regroup(chunks: list[Frames], size: int) -> Iterator[Frames]:
    if all(len(chunk) == size for chunk in chunks[:-1]) and len(chunks[-1]) <= size:
        yield from chunks
        return
    frames = [frame for chunk in chunks for frame in chunk]
    for start in range(0, len(frames), size):
        yield np.stack(frames[start : start + size])


@dataclass(frozen=True)
class ClipInput:
    """A clip with what earlier stages found: `folders` and `outcomes` by stage name."""

    key: str
    fps: Fraction
    size: tuple[int, int]
    length: int
    frames: DecodedFrames
    folders: Mapping[str, Path]
    outcomes: Mapping[str, Outcome]


class ClipStage(Protocol):
    """A stage that works on one clip. `needs` names the earlier stages whose results it reads."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def needs(self) -> tuple[str, ...]: ...

    def identity(self) -> dict[str, Any]:
        """Parameters, estimator and weight checksums: everything but the clip that the result depends on."""
        ...

    def run(self, clip: ClipInput, folder: Path) -> Outcome:
        """Do the work, write files into `folder`, say how it ended. Models are loaded on the first call."""
        ...
