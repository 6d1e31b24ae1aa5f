"""Validation: clips animated with the weights as they are, as pictures and numbers. Training does not notice."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.animator import AnimationSettings, Animator
from model.guidance import Guidance
from train.guards import TrainingFailed
from train.log import Log
from train.masters import Masters
from train.module import TrainingModule
from train.ranks import Ranks
from train.settings import TrainSettings
from train.stream.batch import TrainBatch
from train.stream.settings import DataSettings
from train.stream.stream import Stream
from train.strip import write_strip, write_video
from train.untouched import averaged, evaluating

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipResult:
    """Of one clip. motion_ratio: how much the sample moves against the truth, 1 is right, 0 is a still picture (a known
    way to fail); None where the truth does not move. error: mean absolute difference to the truth, grey levels."""

    key: str
    strip: Path
    motion_ratio: float | None
    error: float


class Validation:
    """Called between two steps, on every rank; the clips are shared out. The clips, their noise and their order are the
    same at every step and for any number of ranks."""

    def __init__(
        self,
        settings: TrainSettings,
        module: TrainingModule,
        masters: Masters,
        named: Mapping[str, nn.Parameter],
        ranks: Ranks,
        log: Log | None,
    ) -> None:
        self.settings, self.module, self.masters, self.named = settings, module, masters, named
        self.ranks, self.log = ranks, log
        wanted = settings.validation
        data = replace(settings.data, latents="never", workers=0)
        if wanted.data:
            data = replace(data, data=tuple(DataSettings(one) for one in wanted.data), split=wanted.split)
        self.samples = Stream(data).samples
        self.animation = AnimationSettings(
            steps=wanted.sampling_steps,
            guidance=Guidance(*wanted.guidance),
            motion_bucket=float(settings.diffusion.motion_bucket),
            seed=settings.seed,
        )

    def __call__(self, step: int) -> None:
        folder = self.settings.out / "validation" / f"step-{step:08d}"
        clips, ranks = self.settings.validation.clips, self.ranks
        average = self.settings.validation.weights == "ema"
        weights = averaged(self.masters, self.named, ranks) if average else nullcontext()
        mine = []
        with evaluating(self.module), weights, self._precision():
            for turn in range(-(-clips // ranks.count)):
                number = turn * ranks.count + ranks.rank
                # Under ZeRO 3 every rank must take part in every turn: a rank without a clip of its own does one again.
                result = self._animate(self.samples[number % clips], folder, keep=number < clips)
                if number < clips and result is not None:
                    mine.append(result)
        results = [result for part in ranks.gather(mine) for result in part]
        if self.log is not None and results:
            self._tell(step, sorted(results, key=lambda result: result.key))

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=self.module.autocast)

    def _animate(self, batch: TrainBatch, folder: Path, keep: bool) -> ClipResult | None:
        assert batch.frames is not None, "cached latents are not asked for in validation"
        reference, truth = pictures(batch.reference), pictures(batch.frames[0])
        skeleton, rendering = pictures(batch.skeleton[0]), pictures(batch.rendering[0])
        face = batch.face_embedding[0].numpy() if bool(batch.face_valid[0]) else None
        fps = float(batch.fps[0])
        animator = Animator(self.module.model, self.module.encoders.encoders)
        settings = replace(self.animation, fps=fps, window=len(truth))
        frames = animator.animate(reference[0], zip(skeleton, rendering), len(truth), face, settings)
        try:
            sample = np.stack(list(frames))
        except FloatingPointError as error:
            if self.settings.engine.zero_stage == 3:  # the other ranks wait for this one's part of the weights
                raise TrainingFailed(f"validation of clip {batch.keys[0]}: {error}") from error
            log.warning("validation of clip %s: %s", batch.keys[0], error)
            return None
        rows = {
            "reference": reference,
            "skeleton": skeleton,
            "rendering": rendering,
            "truth": truth,
            "sample": sample,
        }
        strip = folder / f"{batch.keys[0]}.png"
        if keep:
            write_strip(strip, rows)
            write_video(strip.with_suffix(".mp4"), rows, fps)
        difference = float(np.abs(sample.astype(np.float32) - truth).mean())
        return ClipResult(batch.keys[0], strip, motion_ratio(sample, truth), difference)

    def _tell(self, step: int, results: list[ClipResult]) -> None:
        assert self.log is not None
        ratios = [result.motion_ratio for result in results if result.motion_ratio is not None]
        errors = [result.error for result in results]
        values = {"validation/error": statistics.fmean(errors)}
        if ratios:
            values["validation/motion_ratio"] = statistics.fmean(ratios)
        self.log.step(step, values)
        self.log.event(
            "validation",
            step=step,
            strips=[str(result.strip) for result in results],
            motion_ratios=[result.motion_ratio for result in results],
            errors=errors,
            face_cosine="absent: the trainer has no face recogniser; `vividpose evaluate` measures it",
        )
        for result in results:
            self.log.picture(f"validation/{result.key}", result.strip, step)
        told = ", ".join(f"{name.partition('/')[2]} {value:.3g}" for name, value in values.items())
        self.log.say(f"validation after step {step}: {told}; {results[0].strip.parent}")


def pictures(tensor: Tensor) -> NDArray[np.uint8]:
    """uint8 (N, 3, H, W) to (N, H, W, 3)."""
    return tensor.movedim(1, -1).contiguous().cpu().numpy()


def motion_ratio(sample: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float | None:
    """The deviation of pixels over time, averaged over the picture, of the sample against the truth's. (T, H, W, 3)."""
    moved = float(truth.std(axis=0, dtype=np.float64).mean())
    return float(sample.std(axis=0, dtype=np.float64).mean()) / moved if moved else None
