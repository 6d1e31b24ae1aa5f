"""The workers of the three phases. Each takes a small row, does or skips its units, and commits them itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.annotate.checksums import weight_digest
from pipelines.annotate.choice import Choice
from pipelines.annotate.clip_stage import ClipInput, DecodedFrames
from pipelines.engine.executors import MESSAGE, STOP, Row
from pipelines.engine.isolation import IsolatedWorker
from pipelines.engine.ledger import Ledger, Outcome, Record, ledger_at
from pipelines.engine.setup_error import SetupError
from pipelines.engine.stage import run_unit
from pipelines.engine.storage import Store, join, open_store
from pipelines.job.ingest_source import ingest_source
from pipelines.job.samples import write_shard
from pipelines.job.settings import ShardsSettings
from pipelines.job.stages import Clip, IngestStage, PackStage, annotate_stages, annotate_units

# The stages that decode the clip.
PIXEL_STAGES = ("people", "keypoints", "face", "estimate")


@dataclass(frozen=True)
class RunContext:
    """What every worker of a run is given. Small and picklable: it travels to Ray's actors."""

    out: str
    run: str
    settings: ShardsSettings
    choices: tuple[Choice, ...]
    checksums: dict[str, str]

    @property
    def ledger(self) -> Ledger:
        return ledger_at(str(join(self.out, "work")))

    @property
    def store(self) -> Store:
        """The output place."""
        return open_store(self.out)


class WeightsDiffer(SetupError):
    """A weight file here is not the one the run was planned with."""


def check_weights(context: RunContext) -> None:
    """Raise `WeightsDiffer` unless the weights on this node, now, are those of the plan."""
    for choice in context.choices:
        for path in choice.files:
            if weight_digest(path) != context.checksums[str(path)]:
                raise WeightsDiffer(
                    f"{path} is another file than when the run began, or than on the node that planned it. "
                    "Make it the same everywhere and run again."
                )


def ended(row: Row, record: Record) -> Row:
    """The row with a note when the unit ended otherwise than done."""
    if record.status == "done":
        return row
    return {**row, STOP: record.status, MESSAGE: record.outcome.message or record.outcome.reason}


class IngestWorker:
    """row: source (sha256), path, name. The video is read in a child process, since its content is untrusted."""

    def __init__(self, context: RunContext) -> None:
        self.context = context
        limits = context.settings.isolation
        self.child = IsolatedWorker(limits.timeout_seconds, limits.memory_mb << 20, limits.recycle)

    def __call__(self, row: Row) -> Row:
        context = self.context
        unit = IngestStage(context.settings).unit(row["source"], row["name"])

        def work(folder: Path) -> Outcome:
            return self.child.call(ingest_source, row["path"], row["name"], folder, context.settings.ingest)

        return ended(row, run_unit(context.ledger, unit, context.run, work))


class AnnotateWorker:
    """row: a clip. Runs the named stages on it, sharing one decode among those that have work left."""

    def __init__(self, context: RunContext, names: Sequence[str]) -> None:
        self.context = context
        self.stages = annotate_stages(context.settings, context.choices)
        self.names = [name for name in names if name in self.stages]
        self.prepared: dict[str, DecodedFrames] = {}

    def _frames(self, clip: Clip) -> DecodedFrames:
        ledger = self.context.ledger
        ingest = ledger.record("ingest", clip.ingest_unit)
        assert ingest is not None, "clips are listed by committed ingest units"
        file = clip.facts["file"]
        return DecodedFrames(ledger.folder_of(ingest, only=file) / file, self.context.settings.decoded_mb << 20)

    def prepare(self, row: Row) -> None:
        """Begin to decode a clip whose turn comes next, if a stage that looks at pixels still has work on it."""
        clip = Clip(**row["clip"])
        units = annotate_units(self.stages, clip)
        looking = [units[name] for name in self.names if name in PIXEL_STAGES]
        if any(self.context.ledger.record(unit.stage, unit.id) is None for unit in looking):
            self.prepared = {clip.key: self._frames(clip)}
            self.prepared[clip.key].read_ahead()

    def __call__(self, row: Row) -> Row:
        try:
            return self._annotate(row)
        finally:
            self._tidy()

    def _annotate(self, row: Row) -> Row:
        context, ledger = self.context, self.context.ledger
        check_weights(context)
        clip = Clip(**row["clip"])
        units = annotate_units(self.stages, clip)
        frames = self.prepared.pop(clip.key, None) or self._frames(clip)
        for name in self.names:
            earlier = {need: ledger.record(need, units[need].id) for need in self.stages[name].needs}
            records = {need: record for need, record in earlier.items() if record is not None}
            assert len(records) == len(earlier), f"{name} of {clip.key} came before what it needs: {sorted(earlier)}"
            seen = ClipInput(
                key=clip.key,
                fps=Fraction(*clip.facts["fps"]),
                size=(clip.facts["size"][0], clip.facts["size"][1]),
                length=clip.facts["frames"],
                frames=frames,
                folders={need: ledger.folder_of(record) for need, record in records.items()},
                outcomes={need: record.outcome for need, record in records.items()},
            )
            record = run_unit(ledger, units[name], context.run, partial(self.stages[name].run, seen))
            if record.status != "done":
                return ended(row, record)
        return row

    def _tidy(self) -> None:
        """Copies of a clip that is done with go; those of the prepared one stay."""
        ahead = next(iter(self.prepared.values()), None)
        self.context.ledger.tidy(but=ahead.video.parent if ahead is not None else None)


class PackWorker:
    """row: shard (file name), samples (what `pipelines.job.samples` says a sample is made of)."""

    def __init__(self, context: RunContext) -> None:
        self.context = context

    def __call__(self, row: Row) -> Row:
        context = self.context
        unit = PackStage().unit(row["shard"], row["samples"])

        def work(folder: Path) -> Outcome:
            info: dict[str, Any] = write_shard(context.ledger, context.store, f"shards/{row['shard']}", row["samples"])
            return Outcome(info=info, frames=info["frames"])

        return ended(row, run_unit(context.ledger, unit, context.run, work))
