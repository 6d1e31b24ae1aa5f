"""What the stream can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class DataSettings:
    """One dataset of the mixture.

    data: an output folder of `vividpose shards`, or its URL (s3://bucket/data).
    weight: its share of the samples, relative to the other weights; None for all: as many as it has clips.
    """

    data: str
    weight: float | None = None


@dataclass(frozen=True)
class ClipSettings:
    """Which frames of a clip are taken, and at which size.

    frames: T. size: (width, height) in pixels, multiples of 8.
    fps: frames a second to sample at; None, or more than the clip has: its own. strides: every n-th of those frames;
        one of the strides is drawn for each sample, among those for which the clip is long enough.
    short: what happens to a clip that is too short for T frames. "reject": it is left out before the order is made, and
        counted. "ping_pong": it is played back and forth; clips of a single frame are left out.
    reference: which frame is the reference: "anywhere" in the clip, "outside" the T frames (anywhere, where the clip
        has no other frame), or the "first" of the T. A frame in which the face is seen is preferred.
    crop: "centre", or at "random" along the side that is too long. flip: mirror half of the samples, left and right
        points exchanged; the recognition vector stays that of the picture before.
    skeleton: the drawing style, see `pipelines.body.skeleton`.
    """

    frames: int = 14
    size: tuple[int, int] = (512, 768)
    fps: float | None = None
    strides: tuple[int, ...] = (1,)
    short: Literal["reject", "ping_pong"] = "reject"
    reference: Literal["anywhere", "outside", "first"] = "anywhere"
    crop: Literal["centre", "random"] = "centre"
    flip: bool = False
    skeleton: Literal["plain", "confidence"] = "plain"

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ValueError(f"frames must be at least 1, got {self.frames}")
        if any(side < 8 or side % 8 for side in self.size):
            raise ValueError(f"size must be multiples of 8, since the VAE shrinks by 8; got {self.size}")
        if self.fps is not None and self.fps <= 0:
            raise ValueError(f"fps must be above 0, got {self.fps}")
        if not self.strides or min(self.strides) < 1:
            raise ValueError(f"strides must be numbers from 1 on, got {self.strides}")


@dataclass(frozen=True)
class CacheSettings:
    """Copies of shards that are not local. folder: where; None reads only the members that are needed, by range, every
    time. gigabytes: what the copies may take; the least recently used go first."""

    folder: str | None = None
    gigabytes: float = 100.0


@dataclass(frozen=True)
class StreamSettings:
    """data: the datasets. split: the split of `decisions.parquet` to read; None: all of them.
    seed: of the order and of every draw. window: samples that are shuffled among each other; a rank has so many
        samples' shards open at a time.
    latents: use cached latents where all datasets have those of the run's encoders: "auto", "require" (an error where
        they do not) or "never".
    workers: loader processes of each rank; 0 reads in the trainer's own. prefetch: batches that each worker is ahead.
    pin_memory: hand out page-locked tensors. start_method: how loader processes are started.
    """

    data: tuple[DataSettings, ...] = ()
    split: str | None = None
    seed: int = 0
    window: int = 2048
    clip: ClipSettings = field(default_factory=ClipSettings)
    cache: CacheSettings = field(default_factory=CacheSettings)
    latents: Literal["auto", "require", "never"] = "auto"
    workers: int = 4
    prefetch: int = 2
    pin_memory: bool = False
    start_method: Literal["forkserver", "spawn", "fork"] = "forkserver"

    def __post_init__(self) -> None:
        if self.window < 1 or self.workers < 0 or self.prefetch < 1:
            raise ValueError(
                f"window and prefetch must be at least 1 and workers at least 0; got {self.window}, {self.prefetch}, "
                f"{self.workers}"
            )
