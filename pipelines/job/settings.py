"""The settings of `vividpose shards`, in one tree."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.annotate.quality import QualityConfig
from pipelines.body.fit_config import FitConfig
from pipelines.ingest.clips import IngestConfig
from pipelines.stages.dwpose.providers import Device
from pipelines.stages.people import PeopleConfig


@dataclass(frozen=True)
class IsolationSettings:
    """Limits of the child process that reads untrusted videos.

    timeout_seconds: for one video. memory_mb: resident. recycle: videos after which a fresh process is started.
    """

    timeout_seconds: float = 7200.0
    memory_mb: int = 2048
    recycle: int = 50


@dataclass(frozen=True)
class PoolSettings:
    """One kind of Ray actor. workers: 0 shares out what the machine has. cpus, gpus: what one actor reserves.

    rows: clips that an actor is handed at a time. With more than one, the next clip is decoded in a thread while the
    current one is worked on, at the price of a second clip in memory: 8 is right for a pool with a GPU.
    stages: the annotate stages that run in this actor and share one decode; unused by the pools ingest and pack. The
    stage `estimate` is only there where SMPLer-X is.
    """

    workers: int = 0
    cpus: float = 1.0
    gpus: float = 0.0
    rows: int = 1
    stages: tuple[str, ...] = ()


@dataclass(frozen=True)
class PackSettings:
    """shard_mb: a shard is closed before it grows past this. A single larger sample still gets a shard of its own."""

    shard_mb: int = 256


def _pools() -> dict[str, PoolSettings]:
    return {
        "ingest": PoolSettings(),
        "perceive": PoolSettings(stages=("people", "keypoints", "face", "estimate")),
        "body": PoolSettings(stages=("body", "render", "quality")),
        "pack": PoolSettings(),
    }


@dataclass(frozen=True)
class EstimatorSettings:
    """How the nets of the `full` profile run; which nets run is a matter of the profile and of the files there are.

    device: auto, cuda, tensorrt or cpu. batch: frames through a net at once. half: SMPLer-X's encoder in bfloat16.
    compiled: SMPLer-X through torch.compile; the first batch then takes minutes.
    faces: False takes no identity vectors, which are biometric data, though a recogniser is there.
    """

    device: Device = "auto"
    batch: int = 16
    half: bool = False
    compiled: bool = False
    faces: bool = True


@dataclass(frozen=True)
class ShardsSettings:
    """Everything that `vividpose shards` can be told.

    profile: auto, lite or full. executor: ray or inline. decoded_mb: frames of one clip that a pool keeps in memory so
    that its stages share one decode; longer clips are decoded again by each stage. max_failures: unexpected errors
    (not bad input) after which the run gives up.
    """

    profile: str = "auto"
    executor: str = "ray"
    decoded_mb: int = 512
    max_failures: int = 20
    ingest: IngestConfig = field(default_factory=IngestConfig)
    estimators: EstimatorSettings = field(default_factory=EstimatorSettings)
    people: PeopleConfig = field(default_factory=PeopleConfig)
    body: FitConfig = field(default_factory=FitConfig)
    quality: QualityConfig = field(default_factory=QualityConfig)
    pack: PackSettings = field(default_factory=PackSettings)
    isolation: IsolationSettings = field(default_factory=IsolationSettings)
    pools: dict[str, PoolSettings] = field(default_factory=_pools)
