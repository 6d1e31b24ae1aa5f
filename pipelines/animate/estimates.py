"""From a source to key points, body and face: the stages of the data engine, one unit each, whoever asks for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipelines.animate.driver import CLIP_FILE, take_driver
from pipelines.animate.person import PersonStage
from pipelines.animate.picture import PICTURE_FILE, take_picture
from pipelines.animate.pose_file import POSES_FILE, read_poses, take_poses, take_sample
from pipelines.animate.settings import AnimateSettings
from pipelines.animate.sources import Source
from pipelines.annotate.body import BODY_FILE, BodyStage
from pipelines.annotate.choice import Choice
from pipelines.annotate.clip_stage import CHUNK, ClipInput, ClipStage, DecodedFrames
from pipelines.annotate.estimate import EstimateStage
from pipelines.annotate.face import FACE_FILE, ArcFaceStage, NoFaceStage
from pipelines.annotate.keypoints import KEYPOINTS_FILE, KeypointsStage, read_keypoints
from pipelines.clip import BodySequence, Frames, Keypoints
from pipelines.engine.ledger import Ledger, Outcome, Record, Unit
from pipelines.engine.stage import unit_of
from pipelines.shard_format import Face, decode_body, decode_face

TAKE: dict[str, Callable[..., Outcome]] = {
    "picture": take_picture,
    "video": take_driver,
    "sample": take_sample,
    "poses": take_poses,
}


@dataclass(frozen=True)
class TakeStage:
    """Reading what somebody brought, in a child process, into a form of our own."""

    kind: str
    min_side: int
    version: str = "1"

    @property
    def name(self) -> str:
        return "picture" if self.kind == "picture" else "driver"

    def identity(self) -> dict[str, Any]:
        return {"kind": self.kind, "min_side": self.min_side}

    def work(self, source: Source) -> partial[Outcome]:
        """What the child is to call; it lacks the path and the folder, which come first."""
        return partial(TAKE[self.kind], **source.options, min_side=self.min_side)


class Stages:
    """The stages that a source goes through, made once for each kind and person."""

    def __init__(self, settings: AnimateSettings, choices: Sequence[Choice]) -> None:
        self.settings = settings
        self.by_role = {choice.role: choice for choice in choices}
        self._made: dict[tuple[str, int | None], dict[str, ClipStage]] = {}
        self._shared: dict[str, ClipStage] = {}

    def take(self, source: Source) -> TakeStage:
        return TakeStage(source.kind, self.settings.min_side)

    def clip_stages(self, source: Source) -> dict[str, ClipStage]:
        """By name, in order. None for what brings its poses along."""
        if source.kind in ("sample", "poses"):
            return {}
        key = (source.kind, source.person)
        if key not in self._made:
            use = self.settings.estimators
            people = PersonStage(self.by_role["people"], self.settings.people, use.device, source.person)
            names = ["keypoints", "estimate", "body"]
            if source.kind == "picture":
                names.insert(1, "face")
            shared = [stage for name in names if (stage := self._stage(name)) is not None]
            self._made[key] = {stage.name: stage for stage in (people, *shared)}
        return self._made[key]

    def _stage(self, name: str) -> ClipStage | None:
        if name not in self._shared:
            use, body = self.settings.estimators, self.by_role["body"]
            if name == "keypoints":
                self._shared[name] = KeypointsStage(self.by_role["keypoints"], use.device, use.batch)
            elif name == "face":
                face = self.by_role["face"]
                self._shared[name] = ArcFaceStage(face, use.device) if face.files else NoFaceStage()
            elif name == "body":
                self._shared[name] = BodyStage(body, self.settings.body)
            elif body.estimator == "smplerx":
                self._shared[name] = EstimateStage(body, use.device, use.batch, use.half, use.compiled)
        return self._shared.get(name)

    def units(self, source: Source) -> dict[str, Unit]:
        """The units of a source, in order; each id covers those that it depends on."""
        take = self.take(source)
        taken = unit_of(take, source.label, {"source": source.sha256, "options": source.options})
        units = {take.name: taken}
        for name, stage in self.clip_stages(source).items():
            inputs = {"taken": taken.id, **{need: units[need].id for need in stage.needs}}
            units[name] = unit_of(stage, source.label, inputs)
        return units


@dataclass
class _PictureFrames(DecodedFrames):
    """A picture as a clip of one frame, without loss."""

    def _decode(self, size: int) -> Any:
        self._kept = [read_png(self.video)[None]]
        yield from self._kept


def clip_input(
    ledger: Ledger,
    source: Source,
    units: Mapping[str, Unit],
    stage: ClipStage,
    frames: DecodedFrames | None,
    budget: int,
) -> ClipInput:
    """What a stage is to see of a taken source. frames: an earlier stage's, to share its decode."""
    taken = ledger.record(*_key(next(iter(units.values()))))
    assert taken is not None, "a source is taken before it is looked at"
    facts = taken.outcome.info
    records = {need: ledger.record(*_key(units[need])) for need in stage.needs}
    done = {need: record for need, record in records.items() if record is not None}
    assert len(done) == len(records), f"{stage.name} of {source.label} came before what it needs: {sorted(records)}"
    return ClipInput(
        key=source.label,
        fps=Fraction(*facts.get("fps", (30, 1))),
        size=(facts["size"][0], facts["size"][1]),
        length=facts.get("frames", 1),
        frames=frames or open_frames(ledger, source, taken, budget),
        folders={need: ledger.folder_of(record) for need, record in done.items()},
        outcomes={need: record.outcome for need, record in done.items()},
    )


def open_frames(ledger: Ledger, source: Source, taken: Record, budget: int) -> DecodedFrames:
    """The frames of a taken source; decoded when asked for."""
    if source.kind == "picture":
        return _PictureFrames(ledger.folder_of(taken) / PICTURE_FILE, budget)
    return DecodedFrames(ledger.folder_of(taken) / CLIP_FILE, budget)


def ending(ledger: Ledger, units: Mapping[str, Unit]) -> tuple[dict[str, Record], Record | None]:
    """(records so far, the record that ended the source or None while work is left)."""
    records: dict[str, Record] = {}
    for name, unit in units.items():
        record = ledger.record(unit.stage, unit.id)
        if record is None:
            return records, None
        records[name] = record
        if record.status != "done":
            return records, record
    return records, record


@dataclass(frozen=True)
class Estimate:
    """What is known of a source whose units are all done.

    size: (width, height) of its pictures. clip: its frames as a clip of our own, None for a picture and for saved
    poses. picture: of a reference. face: of a reference. scores: of all stages. facts: of the taking.
    """

    source: Source
    size: tuple[int, int]
    fps: Fraction
    keypoints: Keypoints
    body: BodySequence
    clip: Path | None
    picture: Frames | None
    face: Face | None
    scores: dict[str, float]
    facts: dict[str, Any]

    def __len__(self) -> int:
        return len(self.body)


def read_estimate(ledger: Ledger, source: Source, records: Mapping[str, Record]) -> Estimate:
    """records: of all units of the source, all done."""
    taken = records["picture" if source.kind == "picture" else "driver"]
    facts = taken.outcome.info
    folder = ledger.folder_of(taken)
    if "body" in records:
        keypoints = read_keypoints(ledger.folder_of(records["keypoints"]) / KEYPOINTS_FILE)
        body = decode_body((ledger.folder_of(records["body"]) / BODY_FILE).read_bytes())
    else:
        keypoints, body, _ = read_poses(folder / POSES_FILE)
    face = None
    if "face" in records:
        face = decode_face((ledger.folder_of(records["face"]) / FACE_FILE).read_bytes())
    return Estimate(
        source=source,
        size=(facts["size"][0], facts["size"][1]),
        fps=Fraction(*facts.get("fps", (30, 1))),
        keypoints=keypoints,
        body=body,
        clip=folder / CLIP_FILE if CLIP_FILE in taken.files else None,
        picture=read_png(folder / PICTURE_FILE) if source.kind == "picture" else None,
        face=face,
        scores={name: value for record in records.values() for name, value in record.outcome.scores.items()},
        facts=facts,
    )


def read_png(path: Path) -> Frames:
    """uint8 (H, W, 3) of a PNG that `take_picture` wrote."""
    with Image.open(path, formats=("PNG",)) as opened:
        return np.array(opened.convert("RGB"), np.uint8)


def _key(unit: Unit) -> tuple[str, str]:
    return unit.stage, unit.id


__all__ = ["CHUNK", "Estimate", "Stages", "TakeStage", "clip_input", "ending", "open_frames", "read_estimate"]
