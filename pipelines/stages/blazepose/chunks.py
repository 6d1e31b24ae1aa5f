"""Frames that do not fit into memory at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from pipelines.clip import Frames

# What a stage takes: all frames of a clip as one array, or an iterable of arrays (n, H, W, 3) in order.
FrameChunks = Frames | Iterable[Frames]


def each_frame(frames: FrameChunks) -> Iterator[Frames]:
    """The frames (H, W, 3) one by one. Checks that all are uint8 RGB of one size."""
    size = None
    start = 0
    for chunk in [frames] if isinstance(frames, np.ndarray) else frames:
        if chunk.ndim != 4 or chunk.shape[3] != 3 or chunk.dtype != np.uint8 or 0 in chunk.shape[1:]:
            raise ValueError(
                f"frames from {start} on: expected uint8 (n, H, W, 3) in RGB, got {chunk.dtype} {chunk.shape}"
            )
        if size is not None and chunk.shape[1:3] != size:
            raise ValueError(f"frames from {start} on are {chunk.shape[1:3]}, those before {size}: one size per clip")
        size = chunk.shape[1:3]
        yield from chunk
        start += len(chunk)
