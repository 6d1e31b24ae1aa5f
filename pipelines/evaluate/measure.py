"""One pair of videos: every value per frame and every feature, in one pass over both (poses need two more)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from pipelines.clip import Frames
from pipelines.evaluate.availability import Available
from pipelines.evaluate.estimators import Estimators
from pipelines.evaluate.extract import Collector, extractors
from pipelines.evaluate.metrics import l1, lpips, psnr, temporal
from pipelines.evaluate.nets.vgg import load_vgg16
from pipelines.evaluate.pairs import Pair
from pipelines.evaluate.protocols import VGG16, Measure
from pipelines.evaluate.resize import pil_bicubic, to_bytes
from pipelines.evaluate.sources import BadInput, Video, frames_of

OfFrame = Callable[[Frames, Frames], float]
PAIRED = 8
TEMPORAL = ("flicker", "warp_error", "warp_error_truth")


@dataclass(frozen=True)
class Measured:
    """What one pair gave.

    values: measure key -> float64 (T,) per frame, NaN where a frame has none; between frames, T - 1. features: name of
    the feature set -> (result's, truth's), each (frames or clips, d).
    """

    name: str
    frames: int
    size: tuple[int, int]
    values: dict[str, NDArray[np.float64]]
    features: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]


OF_FRAMES: dict[str, OfFrame] = {
    "l1.disco": l1.l1_disco, "l1.corrected": l1.l1, "psnr.disco": psnr.psnr_disco, "psnr.corrected": psnr.psnr,
}  # fmt: skip


def _of_frames(keys: set[str]) -> dict[str, OfFrame]:
    found = {key: function for key, function in OF_FRAMES.items() if key in keys}
    if keys & {"ssim.disco", "ssim.corrected"}:
        from pipelines.evaluate.metrics import ssim  # scikit-image is optional

        both = {"ssim.disco": ssim.ssim_disco, "ssim.corrected": ssim.ssim}
        found |= {key: function for key, function in both.items() if key in keys}
    return found


class Measurer:
    """Holds the networks; measures pair after pair. device: "cpu" or "cuda".

    Raises WeightsError for weights that do not fit.
    """

    def __init__(
        self, measures: Sequence[Measure], available: Available, device: str, *, resized: bool = False,
        allow_constant: bool = False,
    ) -> None:  # fmt: skip
        self.measures = [m for m in measures if m.key not in available.absent]
        keys = {m.key for m in self.measures}
        self.device, self.resized, self.allow_constant = device, resized, allow_constant
        self.of_frames = _of_frames(keys)
        self.temporal = [m for m in self.measures if m.metric in TEMPORAL]
        self.extractors = extractors({m.features for m in self.measures if m.features}, available, device)
        self.lpips_keys = [m for m in self.measures if m.metric == "lpips"]
        self.lpips: lpips.Lpips | None = None
        if self.lpips_keys:
            assert available.heads is not None, "LPIPS is absent without its heads"
            self.lpips = lpips.Lpips(load_vgg16(available.files[VGG16]), available.heads).to(device)
        self.estimated = {m.metric for m in self.measures if m.kind == "estimator"}
        self.estimators = Estimators(available, device) if self.estimated else None

    def __call__(self, pair: Pair) -> Measured:
        """Raises BadInput for frames that cannot be read or compared."""
        values: dict[str, list[float]] = {key: [] for key in self.of_frames}
        values |= {m.key: [] for m in (*self.temporal, *self.lpips_keys)}
        collectors = {name: (Collector(e), Collector(e)) for name, e in self.extractors.items()}
        flow, before, count = temporal.Flow(), None, 0
        waiting: list[tuple[Frames, Frames]] = []
        steady = {"generated": True, "truth": True}
        first: tuple[Frames, Frames] | None = None
        for number, (ours, theirs) in enumerate(self._both(pair)):
            first = first or (ours, theirs)
            for side, frame, opening in (("generated", ours, first[0]), ("truth", theirs, first[1])):
                steady[side] = steady[side] and np.array_equal(frame, opening)
            for key, function in self.of_frames.items():
                values[key].append(function(ours, theirs))
            for a, b in collectors.values():
                a.add(ours)
                b.add(theirs)
            if before is not None and self.temporal:
                self._between(before, (ours, theirs), flow, values)
            if self.lpips is not None:
                waiting.append((ours, theirs))
                if len(waiting) == PAIRED:
                    self._lpips(waiting, values)
            before, count = (ours, theirs), number + 1
        if waiting:
            self._lpips(waiting, values)
        if count != pair.frames:
            raise BadInput([f"{pair.generated.where} and its truth: {count} frames decode, {pair.frames} are stored"])
        self._refuse_constant(pair, steady)
        features = {name: (a.finish(), b.finish()) for name, (a, b) in collectors.items()}
        measured = {key: np.array(found, np.float64) for key, found in values.items()}
        return Measured(pair.name, count, pair.size, measured | self._estimates(pair), features)

    def _both(self, pair: Pair) -> Iterator[tuple[Frames, Frames]]:
        sides = zip_longest(self._frames(pair.generated, pair), self._frames(pair.truth, pair))
        for number, (ours, theirs) in enumerate(sides):
            if ours is None or theirs is None:
                short = pair.generated if ours is None else pair.truth
                raise BadInput([f"{short.where}: ends after {number} decoded frames, its partner goes on"])
            yield ours, theirs

    def _frames(self, video: Video, pair: Pair) -> Iterator[Frames]:
        size = None
        for number, frame in enumerate(frames_of(video)):
            if size is None:
                size = frame.shape
            if frame.shape != size or (not self.resized and (frame.shape[1], frame.shape[0]) != pair.size):
                raise BadInput([f"{video.where}: frame {number} is {frame.shape[1]} x {frame.shape[0]}, "
                                f"expected {size[1]} x {size[0]}"])  # fmt: skip
            if (frame.shape[1], frame.shape[0]) != pair.size:
                frame = to_bytes(pil_bicubic(frame, pair.size))
            yield frame

    def _between(
        self, before: tuple[Frames, Frames], now: tuple[Frames, Frames], flow: temporal.Flow,
        values: dict[str, list[float]],
    ) -> None:  # fmt: skip
        wanted = {m.metric: m.key for m in self.temporal}
        if "flicker" in wanted:
            values[wanted["flicker"]].append(temporal.flicker(before[0], now[0], before[1], now[1]))
        if "warp_error" in wanted or "warp_error_truth" in wanted:
            motion = flow(before[1], now[1])
            for metric, side in (("warp_error", 0), ("warp_error_truth", 1)):
                if metric in wanted:
                    values[wanted[metric]].append(temporal.warp_error(before[side], now[side], motion))

    def _lpips(self, waiting: list[tuple[Frames, Frames]], values: dict[str, list[float]]) -> None:
        assert self.lpips is not None
        ours, theirs = (np.stack(side) for side in zip(*waiting))
        waiting.clear()
        for measure in self.lpips_keys:
            disco = measure.protocol == "disco"
            values[measure.key] += lpips.lpips(self.lpips, ours, theirs, disco=disco, device=self.device).tolist()

    def _refuse_constant(self, pair: Pair, steady: dict[str, bool]) -> None:
        if self.allow_constant:
            return
        told = [f"{getattr(pair, side).where}: all frames are equal; --allow-constant measures it all the same"
                for side, constant in steady.items() if constant]  # fmt: skip
        if told:
            raise BadInput(told)

    def _estimates(self, pair: Pair) -> dict[str, NDArray[np.float64]]:
        if self.estimators is None:
            return {}
        found = self.estimators.measure(
            lambda: self._frames(pair.generated, pair), lambda: self._frames(pair.truth, pair),
            faces="face_cosine" in self.estimated,
        )  # fmt: skip
        return {f"{metric}.corrected": found[metric] for metric in self.estimated}
