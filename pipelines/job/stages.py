"""The stages of one run as objects, and the ids of the units they make: what depends on what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.annotate.body import BodyStage
from pipelines.annotate.choice import Choice
from pipelines.annotate.clip_stage import ClipStage
from pipelines.annotate.estimate import EstimateStage
from pipelines.annotate.face import ArcFaceStage, NoFaceStage
from pipelines.annotate.keypoints import KeypointsStage
from pipelines.annotate.people import PeopleStage
from pipelines.annotate.quality import QualityStage
from pipelines.annotate.render import RenderStage
from pipelines.engine.ledger import Ledger, Record, Unit
from pipelines.engine.stage import unit_of
from pipelines.job.settings import ShardsSettings
from pipelines.settings import plain
from pipelines.shard_format import SCHEMA_VERSION

ANNOTATE_ORDER = ("people", "keypoints", "face", "estimate", "body", "render", "quality")


@dataclass(frozen=True)
class IngestStage:
    """Cutting a source into clips."""

    settings: ShardsSettings
    name: str = "ingest"
    version: str = "2"

    def identity(self) -> dict[str, Any]:
        return {"config": plain(self.settings.ingest)}

    def unit(self, sha256: str, label: str) -> Unit:
        return unit_of(self, label, {"source": sha256})


@dataclass(frozen=True)
class PackStage:
    """Writing a shard."""

    name: str = "pack"
    version: str = "1"

    def identity(self) -> dict[str, Any]:
        return {"schema": SCHEMA_VERSION}

    def unit(self, shard: str, samples: dict[str, Any]) -> Unit:
        return unit_of(self, shard, {"shard": shard, "samples": samples})


@dataclass(frozen=True)
class Clip:
    """A clip as the ingest phase left it. `index` counts within its source."""

    key: str
    source: str
    ingest_unit: str
    index: int
    facts: dict[str, Any]


def clip_key(source_sha256: str, start_frame: int) -> str:
    """A sample's key: stable as long as the content of the source and the clip's first frame are."""
    return f"{source_sha256[:16]}_{start_frame:06d}"


def clips_of(record: Record, source_sha256: str) -> list[Clip]:
    """The clips that a finished ingest unit lists."""
    return [
        Clip(clip_key(source_sha256, facts["start_frame"]), source_sha256, record.unit, index, facts)
        for index, facts in enumerate(record.outcome.info.get("clips", []))
    ]


def annotate_stages(settings: ShardsSettings, choices: Sequence[Choice]) -> dict[str, ClipStage]:
    """The stage objects by name, in the order in which a clip goes through them. Nothing is loaded yet."""
    by_role = {choice.role: choice for choice in choices}
    use = settings.estimators
    body = by_role["body"]
    stages: list[ClipStage] = [
        PeopleStage(by_role["people"], settings.people, use.device),
        KeypointsStage(by_role["keypoints"], use.device, use.batch),
        ArcFaceStage(by_role["face"], use.device) if use.faces and by_role["face"].files else NoFaceStage(),
    ]
    if body.estimator == "smplerx":
        stages.append(EstimateStage(body, use.device, use.batch, use.half, use.compiled))
    stages += [BodyStage(body, settings.body), RenderStage(body), QualityStage(settings.quality)]
    return {stage.name: stage for stage in stages}


def annotate_units(stages: dict[str, ClipStage], clip: Clip) -> dict[str, Unit]:
    """The unit of every annotate stage for a clip. Each id covers the ids it depends on, so a change runs downwards."""
    units: dict[str, Unit] = {}
    for name, stage in stages.items():
        inputs = {"clip": [clip.ingest_unit, clip.index], **{need: units[need].id for need in stage.needs}}
        units[name] = unit_of(stage, clip.key, inputs)
    return units


def ending(ledger: Ledger, units: dict[str, Unit]) -> tuple[dict[str, Record], Record | None]:
    """(records so far by stage, the record that ended the clip or None while work is left).

    A clip ends at its first record that is not "done", or when every stage is done.
    """
    records: dict[str, Record] = {}
    for name, unit in units.items():
        record = ledger.record(name, unit.id)
        if record is None:
            return records, None
        records[name] = record
        if record.status != "done":
            return records, record
    return records, records[name]
