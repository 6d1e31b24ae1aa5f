"""Reading short real clips for tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from pipelines.clip import Frames


def read_clip(path: Path, stop: int | None = None, step: int = 1) -> tuple[Frames, float]:
    """Every `step`-th of the first `stop` frames, RGB (n, H, W, 3), and their frames a second."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        rate = stream.average_rate
        assert rate is not None
        kept = []
        for index, frame in enumerate(container.decode(stream)):
            if stop is not None and index >= stop:
                break
            if index % step == 0:
                kept.append(frame.to_ndarray(format="rgb24"))
    return np.stack(kept), float(rate) / step


def clip_chunks(path: Path, count: int = 32) -> tuple[Iterator[Frames], float]:
    """All frames as chunks of at most `count`, RGB (n, H, W, 3), decoded as they are asked for; frames a second."""
    with av.open(str(path)) as container:
        rate = container.streams.video[0].average_rate
    assert rate is not None

    def chunks() -> Iterator[Frames]:
        kept = []
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                kept.append(frame.to_ndarray(format="rgb24"))
                if len(kept) == count:
                    yield np.stack(kept)
                    kept = []
        if kept:
            yield np.stack(kept)

    return chunks(), float(rate)
