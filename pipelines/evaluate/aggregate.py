"""From what was measured of each pair to the numbers of the set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.evaluate.availability import Available, resize_told
from pipelines.evaluate.measure import Measured
from pipelines.evaluate.metrics import bootstrap
from pipelines.evaluate.metrics.frechet import (
    Gaussian,
    TooFew,
    frechet_distance,
    frechet_of_draw,
    frechet_of_features,
)
from pipelines.evaluate.metrics.kid import kid
from pipelines.evaluate.metrics.psnr import EQUAL
from pipelines.evaluate.numbers import Number
from pipelines.evaluate.protocols import FEATURES, Measure
from pipelines.evaluate.store import read_measured
from pipelines.evaluate.windows import LENGTH, count

Floats = NDArray[np.float32]
# Features of both sides that are held at once for the intervals, bytes; beyond, there is a value without one.
HELD = 4 << 30
# What the worst frames are chosen by: the first of these that was measured.
JUDGES = ("lpips.corrected", "ssim.corrected", "l1.corrected", "lpips.disco", "ssim.disco", "l1.disco")
WORST, APART = 3, 12


@dataclass(frozen=True)
class Resampling:
    """videos: draws for the means. statistics: draws for Frechet and kernel distances, each of which takes seconds."""

    videos: int = 1000
    statistics: int = 30
    seed: int = 0


@dataclass(frozen=True)
class PerVideo:
    """The means of one video. values: measure key -> mean over its frames, None where it has none.

    worst: (number, value) of its worst frames by the measure `Set.judge`, the worst first.
    """

    name: str
    frames: int
    size: tuple[int, int]
    values: dict[str, float | None]
    worst: tuple[tuple[int, float], ...] = ()


class Set:
    """All measured pairs of a run, read one by one from their files, as often as a measure needs them."""

    def __init__(self, files: Sequence[Path], resized: str | None, available: Available) -> None:
        self.files, self.resized, self.available = files, resized, available
        self.rows: list[PerVideo] = []
        self.sums: dict[str, list[tuple[float, int]]] = {}
        self.equal: dict[str, int] = {}
        self.judge: str | None = None
        for measured in self:
            means: dict[str, float | None] = {}
            for key, values in measured.values.items():
                known = values[~np.isnan(values)]
                self.sums.setdefault(key, []).append((float(known.sum()), len(known)))
                means[key] = float(known.mean()) if len(known) else None
                if key.startswith("psnr"):
                    self.equal[key] = self.equal.get(key, 0) + int((values == EQUAL).sum())
            self.judge = next((key for key in JUDGES if key in measured.values), None)
            worst = _worst(measured.values[self.judge], self.judge) if self.judge else ()
            self.rows.append(PerVideo(measured.name, measured.frames, measured.size, means, worst))
        sizes = {row.size for row in self.rows}
        self.size = sizes.pop() if len(sizes) == 1 else None
        self.frames = sum(row.frames for row in self.rows)

    def __iter__(self) -> Iterator[Measured]:
        return (read_measured(path) for path in self.files)

    def number(self, measure: Measure, resampling: Resampling) -> Number:
        """The number of one measure, or the reason why there is none."""
        reason = self.available.absent.get(measure.key)
        if reason is not None:
            return self._number(measure, reason=reason)
        if measure.kind in ("frame", "estimator"):
            return self._mean(measure, resampling)
        return self._statistic(measure, resampling)

    def _mean(self, measure: Measure, resampling: Resampling) -> Number:
        sums, counts = (np.array(side, np.float64) for side in zip(*self.sums[measure.key]))
        if counts.sum() == 0:
            return self._number(measure, reason="no frame of the truth shows what it measures")
        without = [row.name for row, number in zip(self.rows, counts) if number == 0]
        notes = _notes("without a value", without)
        if equal := self.equal.get(measure.key):
            notes = (*notes, f"{equal} of {int(counts.sum())} frames equal the truth and count {EQUAL:g} dB each")
        return self._number(
            measure,
            value=float(sums.sum() / counts.sum()),
            interval=bootstrap.of_mean(sums, counts, resampling.videos, resampling.seed),
            frames=int(counts.sum()),
            videos=int((counts > 0).sum()),
            notes=notes,
        )

    def _statistic(self, measure: Measure, resampling: Resampling) -> Number:
        per_clip = FEATURES[measure.features].per == "clip"
        used = [index for index, row in enumerate(self.rows) if not per_clip or count(row.frames, measure.clips)]
        if not used:
            longest = max(row.frames for row in self.rows)
            return self._number(measure, reason=f"no clip of {LENGTH} frames ({measure.clips}): the longest video has "
                                f"{longest} frames")  # fmt: skip
        without = [row.name for index, row in enumerate(self.rows) if index not in set(used)]
        frames = sum(self.rows[index].frames for index in used)
        try:
            value, interval, taken = self._distance(measure, used, resampling)
        except TooFew as error:
            return self._number(measure, reason=str(error))
        notes = [*_notes(f"shorter than a clip of {LENGTH} frames and left out", without)]
        if taken < 2 * FEATURES_WIDTH[measure.features]:
            wide = FEATURES_WIDTH[measure.features]
            notes.append(f"{taken} samples in {wide} dimensions: biased upwards, compare only at equal numbers")
        return self._number(
            measure, value=value, interval=interval, frames=frames, videos=len(used), clips=taken if per_clip else None,
            notes=tuple(notes),
        )  # fmt: skip

    def _distance(
        self, measure: Measure, used: list[int], resampling: Resampling
    ) -> tuple[float, tuple[float, float] | None, int]:
        sides = [self._sides(measure, index) for index in used]
        taken = sum(len(ours) for ours, _ in sides)
        everything = range(len(sides))
        if measure.kind == "kid":
            value = kid(*_joined(sides, everything))
        elif taken < FEATURES_WIDTH[measure.features]:
            value = frechet_of_features(*_joined(sides, everything))
        else:
            ours, theirs = (reduce(Gaussian.merge, (Gaussian.of(pair[side]) for pair in sides)) for side in (0, 1))
            value = frechet_distance(ours, theirs)
        distance = kid if measure.kind == "kid" else frechet_of_draw

        def statistic(drawn: Sequence[int]) -> float:
            return distance(*_joined(sides, drawn))

        if sum(ours.nbytes + theirs.nbytes for ours, theirs in sides) > HELD:
            return value, None, taken
        interval = bootstrap.of_statistic(value, len(used), statistic, resampling.statistics, resampling.seed)
        if interval is not None and measure.kind == "frechet":
            interval = (max(0.0, interval[0]), interval[1])
        return value, interval, taken

    def _sides(self, measure: Measure, index: int) -> tuple[Floats, Floats]:
        measured = read_measured(self.files[index])
        ours, theirs = measured.features[measure.features]
        if FEATURES[measure.features].per == "clip":
            clips = count(measured.frames, measure.clips)
            return ours[:clips], theirs[:clips]
        return ours, theirs

    def _number(
        self, measure: Measure, *, value: float | None = None, reason: str | None = None,
        interval: tuple[float, float] | None = None, **told: Any,
    ) -> Number:  # fmt: skip
        low, high = interval or (None, None)
        details = {"videos": len(self.rows), "frames": self.frames, "clips": None, "notes": (), **told}
        if value is None:
            details |= {"videos": 0, "frames": 0}
        names = {
            "face_cosine": ("arcface", self.available.people[0], self.available.keypoints[0]),
            "pose_error": (self.available.people[0], self.available.keypoints[0]),
            "pose_missed": (self.available.people[0], self.available.keypoints[0]),
        }
        return Number(
            protocol=measure.protocol, metric=measure.metric, title=measure.title, better=measure.better, value=value,
            reason=reason, low=low, high=high, clip_rule=measure.clips, size=self.size,
            resize=resize_told(measure, self.resized), definition=measure.definition,
            weights=self.available.weights_of(measure), estimators=names.get(measure.metric, ()), **details,
        )  # fmt: skip


FEATURES_WIDTH = {name: 400 if name.startswith("i3d") else 2048 for name in FEATURES}


def _worst(values: NDArray[np.float64], judge: str) -> tuple[tuple[int, float], ...]:
    """The worst frames that are not next to each other."""
    chosen: list[int] = []
    for index in np.argsort(values if judge.startswith("ssim") else -values, kind="stable").tolist():
        if all(abs(index - other) >= APART for other in chosen):
            chosen.append(index)
        if len(chosen) == WORST:
            break
    return tuple((index, float(values[index])) for index in chosen)


def _joined(sides: Sequence[tuple[Floats, Floats]], drawn: Iterable[int]) -> tuple[Floats, Floats]:
    taken = [sides[index] for index in drawn]
    return np.concatenate([ours for ours, _ in taken]), np.concatenate([theirs for _, theirs in taken])


def _notes(what: str, names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        return ()
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return (f"{what}: {', '.join(names[:5])}{more}",)
