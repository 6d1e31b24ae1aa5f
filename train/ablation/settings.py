"""What an ablation is told: one tree, saved in its folder."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.settings import BadSettings
from train.settings import DiffusionSettings, OptimiserSettings


@dataclass(frozen=True)
class DataSettings:
    """The benchmark that is filmed: see `vividpose groundtruth make`. size: of the films, pixels; what the estimators
    of `vividpose shards` see. workers: processes that film."""

    seed: int = 0
    train_people: int = 160
    test_people: int = 40
    clips_per_person: int = 1
    frames: int = 20
    size: int = 160
    workers: int = 2


@dataclass(frozen=True)
class ClipSettings:
    """What the networks see of a film: `frames` pictures of `size` pixels square, every `stride`-th one; the first is
    the reference. They are cut out, about the head, of pictures of `whole` pixels square, so that faces and hands are
    large enough to count. windows: how many such runs are read of each film, at places that a seed decides."""

    frames: int = 4
    size: int = 64
    whole: int = 112
    stride: int = 5
    windows: int = 4
    test_windows: int = 2
    seed: int = 0


@dataclass(frozen=True)
class AblationSettings:
    """model: a model configuration, a name in `model/configs` or a YAML file. seeds: how many runs of each variant.

    base_steps: steps without identity, skeleton and rendering, once a seed: what all variants of it start from, as the
    paper's all start from the same published weights. steps: of each variant after that. batch: clips of a step.
    identity_rate: the identity controller's multiple of the learning rate. Its way from the vector to the picture
    begins with values of zero behind two layers: at the common rate it is hardly used when the rest has learned to do
    without.
    autocast: run the networks in bf16. jobs: processes at once; 0: 2 without a GPU, 1 with one.
    sigmas: noise levels of the paired denoising error. sampling: falling noise levels of the samples, without the
    final 0. resamples: draws of the bootstrap.
    checkpoint: a killed run goes on from the last of these steps.
    """

    model: str = "ablation"
    seeds: int = 2
    base_steps: int = 300
    steps: int = 600
    batch: int = 4
    identity_rate: float = 5.0
    autocast: bool = True
    jobs: int = 0
    checkpoint: int = 100
    sigmas: tuple[float, ...] = (0.3, 1.0, 3.0, 10.0)
    sampling: tuple[float, ...] = (20.0, 7.0, 2.5, 0.8, 0.25)
    resamples: int = 2000
    data: DataSettings = field(default_factory=DataSettings)
    clips: ClipSettings = field(default_factory=ClipSettings)
    optimiser: OptimiserSettings = field(
        default_factory=lambda: OptimiserSettings(
            learning_rate=1e-3, warmup=30, schedule="cosine", final_share=0.02, clip=1.0
        )
    )
    diffusion: DiffusionSettings = field(
        default_factory=lambda: DiffusionSettings(
            sigma_mean=0.5, sigma_std=1.2, drop=0.0, drop_face=0.0, face_weight=8.0, hand_weight=4.0
        )
    )


def checked(settings: AblationSettings) -> AblationSettings:
    """The same settings, or `BadSettings` for values that cannot work."""
    for name in ("seeds", "steps", "batch", "checkpoint", "resamples"):
        _at_least(name, getattr(settings, name), 1)
    _at_least("base_steps", settings.base_steps, 0)
    if settings.identity_rate <= 0:
        raise BadSettings(f"identity_rate: expected more than 0, not {settings.identity_rate}")
    _at_least("jobs", settings.jobs, 0)
    for name in ("train_people", "test_people", "clips_per_person", "workers"):
        _at_least(f"data.{name}", getattr(settings.data, name), 1)
    for name in ("frames", "stride", "windows", "test_windows"):
        _at_least(f"clips.{name}", getattr(settings.clips, name), 1)
    span = (settings.clips.frames - 1) * settings.clips.stride + 1
    if span > settings.data.frames:
        raise BadSettings(
            f"clips.frames {settings.clips.frames} at clips.stride {settings.clips.stride} span {span} frames of a "
            f"film that has {settings.data.frames}: raise data.frames or lower the stride"
        )
    if settings.clips.whole < settings.clips.size or settings.clips.whole % 8 or settings.clips.size % 8:
        raise BadSettings(
            f"clips.size {settings.clips.size} is cut out of clips.whole {settings.clips.whole}: expected multiples of "
            "8, and whole not the smaller one"
        )
    for name in ("sigmas", "sampling"):
        levels = getattr(settings, name)
        if not levels or min(levels) <= 0:
            raise BadSettings(f"{name}: expected noise levels above 0, not {levels}")
    if list(settings.sampling) != sorted(set(settings.sampling), reverse=True):
        raise BadSettings(f"sampling: expected levels that fall, not {settings.sampling}")
    return settings


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise BadSettings(f"{name}: expected {least} or more, not {value}")
