"""The settings of `vividpose animate` that hold for all jobs of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pipelines.body.fit_config import FitConfig
from pipelines.job.settings import EstimatorSettings, IsolationSettings, PoolSettings


@dataclass(frozen=True)
class PersonConfig:
    """samples_per_second: how often people are looked for. longest_gap: seconds that a person may go unseen and still
    be the same."""

    samples_per_second: float = 4.0
    longest_gap: float = 1.0


@dataclass(frozen=True)
class ModelSettings:
    """folder: a VividPose folder, or `tiny`. encoders: a folder with `vae/` and `image_encoder/` (SVD's); None: those
    in the model's own folder, for a model of the tiny configuration the shipped ones.
    device: auto, cpu, cuda or cuda:N. precision: auto takes bf16 on a GPU and fp32 on a CPU.
    """

    folder: str = "tiny"
    encoders: str | None = None
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"


@dataclass(frozen=True)
class MemorySettings:
    """budget_gb: "auto" takes what is free, less a reserve; a number of GB plans for that. overlap: frames that a
    window shares with the next. window: frames denoised together; None: what the model was made for, unless memory is
    short.
    """

    budget_gb: float | Literal["auto"] = "auto"
    overlap: int | None = None
    window: int | None = None


def _pools() -> dict[str, PoolSettings]:
    return {
        "take": PoolSettings(),
        "perceive": PoolSettings(stages=("people", "keypoints", "face", "estimate")),
        "body": PoolSettings(stages=("body",)),
        "animate": PoolSettings(),
        "finish": PoolSettings(),
    }


@dataclass(frozen=True)
class AnimateSettings:
    """profile: of the estimators: auto, lite or full. executor: ray or inline. root: a folder that every input must lie
    in; None: anywhere. skeleton: the drawing style that the model was trained with; auto: as its folder says, else
    plain.
    decoded_mb: frames of one clip kept in memory so that the estimators share one decode; little, for a long driver is
    to need no more memory than a short one, and decoding is quick beside the estimators.
    min_side: pixels, least short side of an input. max_failures: unexpected errors after which the run gives up.
    pools: Ray actors. `animate` holds the model: give it `gpus: 1`, or more, and its actors spread a long video's
    windows over all of theirs.
    """

    profile: str = "auto"
    executor: str = "ray"
    root: str | None = None
    skeleton: Literal["auto", "plain", "confidence"] = "auto"
    crf: int = 16
    decoded_mb: int = 64
    min_side: int = 64
    max_failures: int = 20
    model: ModelSettings = field(default_factory=ModelSettings)
    memory: MemorySettings = field(default_factory=MemorySettings)
    estimators: EstimatorSettings = field(default_factory=EstimatorSettings)
    people: PersonConfig = field(default_factory=PersonConfig)
    body: FitConfig = field(default_factory=FitConfig)
    isolation: IsolationSettings = field(default_factory=IsolationSettings)
    pools: dict[str, PoolSettings] = field(default_factory=_pools)
