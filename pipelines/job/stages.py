"""The stages of one run as objects, and the ids of the units they make: what depends on what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.annotate.choice import Choice
from pipelines.annotate.clip_stage import ClipStage
from pipelines.annotate.geometry import BodyFitStage, QualityStage, RenderStage
from pipelines.annotate.perceive import LiteKeypointsStage, NoFaceStage, PeopleStage
from pipelines.engine.ledger import Ledger, Record, Unit
from pipelines.engine.stage import unit_of
from pipelines.job.settings import ShardsSettings
from pipelines.settings import plain
from pipelines.shard_format import SCHEMA_VERSION

ANNOTATE_ORDER = ("people", "keypoints", "face", "body", "render", "quality")


@dataclass(frozen=True)
class IngestStage:
    """Cutting a source into clips."""

    settings: ShardsSettings
    name: str = "ingest"
    version: str = "1"

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
    files = {choice.role: list(choice.files) for choice in choices}
    body_file: Path = files["body"][0]
    stages: tuple[ClipStage, ...] = (
        PeopleStage(settings.people, files["people"]),
        LiteKeypointsStage(files["keypoints"]),
        NoFaceStage(),
        BodyFitStage(settings.body, body_file),
        RenderStage(body_file),
        QualityStage(settings.quality),
    )
    by_name = {stage.name: stage for stage in stages}
    assert tuple(by_name) == ANNOTATE_ORDER
    return by_name


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
