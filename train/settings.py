"""The settings of a training run: what the YAML files of `train/configs` hold."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from model.execution import CheckpointingPolicy
from pipelines.engine.storage import is_object_url
from pipelines.settings import BadSettings, build, load_yaml, with_overrides
from train.stream.settings import StreamSettings

CONFIGS = Path(__file__).resolve().parent / "configs"


@dataclass(frozen=True)
class ModelSettings:
    """config: a model configuration, a name in `model/configs` or a YAML file. A run starts from `pretrained`, a
    VividPose folder, whose configuration counts; or from `svd` and `sd21`, the published folders, with new controllers;
    or, where all three are null, from random numbers of the seed. groups: the parts that train, names of
    `VividPose.groups()`, or "all" as in the paper."""

    config: str = "vividpose"
    pretrained: Path | None = None
    svd: Path | None = None
    sd21: Path | None = None
    groups: tuple[str, ...] = ("all",)


@dataclass(frozen=True)
class EncoderSettings:
    """folder: with the frozen `vae/` and `image_encoder/`, Stable Video Diffusion's or VividPose's; "tiny" for those
    that are shipped for the tiny model. precision: of both."""

    folder: str = "tiny"
    precision: Literal["bf16", "fp32"] = "fp32"
    frames_at_once: int = 8


@dataclass(frozen=True)
class BatchSettings:
    """clips: clips of one optimiser step over all ranks, fixed for the run. clips_at_once: per rank and forward pass.
    The
    number of accumulation steps follows: clips / (clips_at_once * ranks)."""

    clips: int = 32
    clips_at_once: int = 1


@dataclass(frozen=True)
class OptimiserSettings:
    """AdamW. The rate rises linearly over `warmup` steps, then stays ("constant") or falls along a half cosine to
    `final_share` of itself at the last step ("cosine"). clip: largest norm of the gradient."""

    learning_rate: float = 1e-5
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: float = 0.01
    warmup: int = 500
    schedule: Literal["constant", "cosine"] = "constant"
    final_share: float = 0.1
    clip: float = 1.0


@dataclass(frozen=True)
class DiffusionSettings:
    """sigma_mean, sigma_std: of ln(sigma). noise_aug_mean, noise_aug_std: of ln of the noise on the condition image.

    drop: each sample loses, with this probability each, its CLIP embedding, CLIP and image latent, or the image latent
    alone (InstructPix2Pix, as SVD's fine-tuners do). drop_all: with this probability it loses every condition.
    drop_pose, drop_face, drop_reference: with this probability that one, independently.
    face_weight, hand_weight: factor of the loss inside the boxes of face and hands; 1 is the paper's.
    """

    sigma_mean: float = 0.7
    sigma_std: float = 1.6
    noise_aug_mean: float = -3.0
    noise_aug_std: float = 0.5
    motion_bucket: int = 127
    drop: float = 0.1
    drop_all: float = 0.0
    drop_pose: float = 0.0
    drop_face: float = 0.1
    drop_reference: float = 0.0
    face_weight: float = 1.0
    hand_weight: float = 1.0


@dataclass(frozen=True)
class EngineSettings:
    """zero_stage: DeepSpeed's ZeRO. 1 shards master weights and moments and reduces the gradient once per step; 2
    shards the gradient too and reduces it every forward pass; 3 shards the weights. 0 keeps fp32 weights and autocasts.
    precision: bf16 on GPUs; fp32 for exact comparisons and CPUs. accumulation: precision in which gradients are summed.
    offload: master weights and moments in the memory of the host. checkpointing: policy of
    `VividPose.set_checkpointing`.
    deterministic: only operators that give the same bits every time, where there are any; slower on GPUs.
    """

    zero_stage: Literal[0, 1, 2, 3] = 1
    precision: Literal["bf16", "fp32"] = "bf16"
    accumulation: Literal["fp32", "bf16"] = "fp32"
    offload: bool = False
    checkpointing: CheckpointingPolicy = "none"
    compile: bool = False
    deterministic: bool = False


@dataclass(frozen=True)
class EmaSettings:
    """decay: per step, of the average of the fp32 weights; 0 keeps none. warmup: early on the decay is at most
    (1 + step) / (10 + step), so that the average forgets the random start."""

    decay: float = 0.9999
    warmup: bool = True


@dataclass(frozen=True)
class CheckpointSettings:
    """Every `steps` steps and at every end. The last `keep` are kept, and of the older those of every `keep_every`-th
    step (0: none)."""

    steps: int = 500
    keep: int = 3
    keep_every: int = 0


@dataclass(frozen=True)
class ValidationSettings:
    """Every `steps` steps (0: never) `clips` clips from the start of the order, or from `data` when it is given, are
    animated with `sampling_steps` steps. weights: "live" or "ema" (not under ZeRO 3). data: output folders of
    `vividpose shards`; split: the split of their `decisions.parquet` to read."""

    steps: int = 1000
    clips: int = 2
    sampling_steps: int = 25
    guidance: tuple[float, float] = (1.0, 3.0)
    weights: Literal["live", "ema"] = "live"
    data: tuple[str, ...] = ()
    split: str | None = None


@dataclass(frozen=True)
class GuardSettings:
    """A step with a loss or gradient that is not finite is skipped; `skipped_in_a_row` of them end the run."""

    skipped_in_a_row: int = 5


@dataclass(frozen=True)
class LogSettings:
    """every: steps between lines of the log. peak_tflops: the accelerator's dense matrix rate in the run's precision,
    for the share of peak; null takes it from the table of `train/throughput.py` when the device is known."""

    every: int = 1
    tensorboard: bool = True
    wandb_project: str | None = None
    peak_tflops: float | None = None


@dataclass(frozen=True)
class TrainSettings:
    """A run. out: its folder: settings, log, checkpoints, pictures. store: object storage (s3://bucket/run) that keeps
    the run, so that a machine without its folder can go on. steps: optimiser steps of the whole run."""

    out: Path = Path("runs/vividpose")
    store: str | None = None
    seed: int = 0
    steps: int = 50_000
    model: ModelSettings = field(default_factory=ModelSettings)
    encoders: EncoderSettings = field(default_factory=EncoderSettings)
    data: StreamSettings = field(default_factory=StreamSettings)
    batch: BatchSettings = field(default_factory=BatchSettings)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    diffusion: DiffusionSettings = field(default_factory=DiffusionSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    ema: EmaSettings = field(default_factory=EmaSettings)
    checkpoint: CheckpointSettings = field(default_factory=CheckpointSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    guards: GuardSettings = field(default_factory=GuardSettings)
    log: LogSettings = field(default_factory=LogSettings)


def load_settings(config: str, overrides: list[str]) -> TrainSettings:
    """The settings of a file, or of a name in `train/configs`, with each `a.b=value` applied. Raises `BadSettings`."""
    path = Path(config)
    if not path.suffix and not path.exists():
        path = CONFIGS / f"{config}.yaml"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in CONFIGS.glob("*.yaml")))
        raise BadSettings(f"there is no configuration file {path}; configurations that come along: {known}")
    return checked(build(TrainSettings, with_overrides(load_yaml(path), overrides), path.name))


def checked(settings: TrainSettings) -> TrainSettings:
    """The same settings, or `BadSettings` for values that cannot work, before anything is loaded."""
    if re.match(r"\w+:/", str(settings.out)):  # a path has lost one of its slashes
        raise BadSettings(f"out: wants a folder on this machine, got {settings.out}; object storage goes into `store`")
    if settings.store is not None and not is_object_url(settings.store):
        raise BadSettings(f"store: wants a URL such as s3://bucket/run, got {settings.store}; a folder goes into `out`")
    _positive("steps", settings.steps)
    _positive("batch.clips", settings.batch.clips)
    _positive("batch.clips_at_once", settings.batch.clips_at_once)
    _positive("optimiser.learning_rate", settings.optimiser.learning_rate)
    _positive("checkpoint.steps", settings.checkpoint.steps)
    _positive("checkpoint.keep", settings.checkpoint.keep)
    _positive("guards.skipped_in_a_row", settings.guards.skipped_in_a_row)
    _positive("log.every", settings.log.every)
    _positive("diffusion.sigma_std", settings.diffusion.sigma_std)
    _share("ema.decay", settings.ema.decay, below=1.0)
    for name in ("drop_all", "drop_pose", "drop_face", "drop_reference"):
        _share(f"diffusion.{name}", getattr(settings.diffusion, name))
    _share("diffusion.drop", settings.diffusion.drop, below=1 / 3 + 1e-9)
    start = settings.model
    if (start.svd is None) != (start.sd21 is None) or (start.svd and start.pretrained):
        raise BadSettings("model: give either `pretrained`, or both `svd` and `sd21`, or none of them")
    for name in ("face_weight", "hand_weight"):
        if getattr(settings.diffusion, name) < 1:
            raise BadSettings(f"diffusion.{name}: a factor of 1 or more, not {getattr(settings.diffusion, name)}")
    if settings.optimiser.clip < 0:
        raise BadSettings(f"optimiser.clip: a norm, or 0 for no clipping, not {settings.optimiser.clip}")
    if settings.validation.weights == "ema" and (settings.engine.zero_stage == 3 or not settings.ema.decay):
        raise BadSettings("validation.weights: 'ema' needs ema.decay above 0 and engine.zero_stage below 3; use 'live'")
    if settings.engine.offload and settings.engine.zero_stage == 0:
        raise BadSettings("engine.offload needs engine.zero_stage 1, 2 or 3")
    return settings


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise BadSettings(f"{name}: wants a number above 0, got {value}")


def _share(name: str, value: float, below: float = 1.0 + 1e-9) -> None:
    if not 0 <= value < below:
        raise BadSettings(f"{name}: wants a number from 0 to below {below:.3g}, got {value}")


def accumulation_steps(batch: BatchSettings, ranks: int) -> int:
    """Forward passes of a rank in one optimiser step. Raises `BadSettings` when the batch does not divide."""
    at_once = batch.clips_at_once * ranks
    steps, rest = divmod(batch.clips, at_once)
    if rest or not steps:
        raise BadSettings(
            f"batch.clips is {batch.clips}, but {ranks} ranks of batch.clips_at_once {batch.clips_at_once} take "
            f"{at_once} clips in a pass, which must divide it: choose another number of ranks or of clips_at_once"
        )
    return steps


def differences(old: Any, new: Any, name: str = "") -> list[str]:
    """What changed between two plain settings, one line per value: "a.b: 1 -> 2"."""
    if isinstance(old, dict) and isinstance(new, dict):
        lines = []
        for key in sorted(old.keys() | new.keys()):
            lines += differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
        return lines
    return [] if old == new else [f"{name}: {old} -> {new}"]
