"""The numbers of an evaluation: each with everything that is needed to say what it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Number:
    """One measure over all videos.

    value: None where it is absent, `reason` then says why. low, high: the 95 % interval over videos, None with too few.
    videos, frames: that went in; clips: of the video metrics. size: (width, height) that was measured, None where
    videos differ. resize: kernels, "none" for pictures as they are. weights: file name -> sha256. notes: what else to
    know.
    """

    protocol: str
    metric: str
    title: str
    better: str
    value: float | None
    reason: str | None
    low: float | None
    high: float | None
    videos: int
    frames: int
    clips: int | None
    clip_rule: str
    size: tuple[int, int] | None
    resize: str
    definition: str
    weights: dict[str, str]
    estimators: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.metric}.{self.protocol}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)
