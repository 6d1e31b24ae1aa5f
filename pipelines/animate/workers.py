"""The workers of a run. A row is a source to be estimated or a job to be done; what is not a worker's goes through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.animate.cautions import cautions_of
from pipelines.animate.estimates import Estimate, Stages, clip_input, ending, read_estimate
from pipelines.animate.finish import (
    COMPARE_FILE,
    MANIFEST_FILE,
    RECIPE_FILE,
    RESULT_FILE,
    recipe,
    write_comparison,
    write_result,
)
from pipelines.animate.model_check import model_cautions
from pipelines.animate.model_source import ModelFacts, load_animator, place_visitors
from pipelines.animate.motion import Motion, swapped_motion
from pipelines.animate.planned import AnimateStage, PlannedJob, job_units
from pipelines.animate.pose_file import POSES_FILE, pack_poses
from pipelines.animate.preview import SHEET_FILE, write_sheet
from pipelines.animate.provenance import manifest, manifest_bytes
from pipelines.animate.sampling import VIDEO_FILE, SamplingPlan, framing_of, sample_video
from pipelines.animate.settings import AnimateSettings
from pipelines.animate.sources import Source
from pipelines.annotate.checksums import weight_digest
from pipelines.annotate.choice import Choice
from pipelines.body.swap import SwapConfig
from pipelines.engine.executors import MESSAGE, STOP, Row
from pipelines.engine.isolation import IsolatedWorker
from pipelines.engine.ledger import Ledger, Outcome, Record, Unit, ledger_at
from pipelines.engine.setup_error import SetupError
from pipelines.engine.stage import run_unit

if TYPE_CHECKING:
    from model.animator import Animator
    from pipelines.body.model import Body

Watch = Callable[[str, int, int], None]
"""Told a job's name, and the network evaluations done and to do."""
# What a job's child process may need while it copies sound.
SOUND_SECONDS = 600.0


@dataclass(frozen=True)
class RunContext:
    """What every worker of a run is given. Small and picklable: it travels to Ray's actors. plans: by the jobs' names.
    model: None where only sheets are made."""

    work: str
    run: str
    settings: AnimateSettings
    choices: tuple[Choice, ...]
    checksums: dict[str, str]
    model: ModelFacts | None
    plans: dict[str, SamplingPlan]

    @property
    def ledger(self) -> Ledger:
        return ledger_at(self.work)

    def animate(self, job: PlannedJob) -> AnimateStage | None:
        """The stage that samples a job; None where only sheets are made."""
        if self.model is None:
            return None
        return AnimateStage(self.model, self.plans[job.name], self.settings.skeleton, self.settings.crf)

    def stages(self) -> Stages:
        return Stages(self.settings, self.choices)

    def check_weights(self) -> None:
        """Raise `SetupError` unless the weights on this node are those of the plan."""
        for choice in self.choices:
            for path in choice.files:
                if weight_digest(path) != self.checksums[str(path)]:
                    raise SetupError(f"{path} is another file than where the run began; make it the same and run again")


def _ended(row: Row, record: Record) -> Row:
    if record.status == "done":
        return row
    return {**row, STOP: record.status, MESSAGE: record.outcome.message or record.outcome.reason}


class SourceWorker:
    """Runs some of the stages of sources: what the child process takes in, or named stages that share one decode."""

    def __init__(self, context: RunContext, names: tuple[str, ...]) -> None:
        self.context, self.names = context, names
        self.stages = context.stages()
        limits = context.settings.isolation
        self.child = IsolatedWorker(limits.timeout_seconds, limits.memory_mb << 20, limits.recycle)

    def __call__(self, row: Row) -> Row:
        if "source" not in row:
            return row
        self.context.check_weights()
        source = Source(**row["source"])
        units = self.stages.units(source)
        try:
            return self._take(row, source, units) if not self.names else self._look(row, source, units)
        finally:
            self.context.ledger.tidy()

    def _take(self, row: Row, source: Source, units: Mapping[str, Unit]) -> Row:
        stage = self.stages.take(source)

        def work(folder: Path) -> Outcome:
            return self.child.call(stage.work(source), source.path, folder)

        return _ended(row, run_unit(self.context.ledger, units[stage.name], self.context.run, work))

    def _look(self, row: Row, source: Source, units: Mapping[str, Unit]) -> Row:
        frames = None
        for name, stage in self.stages.clip_stages(source).items():
            if name not in self.names:
                continue
            ledger, budget = self.context.ledger, self.context.settings.decoded_mb << 20
            if ledger.record(name, units[name].id) is None:
                seen = clip_input(ledger, source, units, stage, frames, budget)
                frames = seen.frames
                record = run_unit(ledger, units[name], self.context.run, partial(self._quarantined, stage, seen))
            else:
                record = run_unit(ledger, units[name], self.context.run, _never)
            if record.status != "done":
                return _ended(row, record)
        return row

    @staticmethod
    def _quarantined(stage: Any, seen: Any, folder: Path) -> Outcome:
        """What the data engine drops is bad input here: somebody asked for it by name."""
        outcome: Outcome = stage.run(seen, folder)
        if outcome.status != "dropped":
            return outcome
        return Outcome("quarantined", outcome.reason, outcome.message, scores=outcome.scores, frames=outcome.frames)


def _never(folder: Path) -> Outcome:
    raise AssertionError("a unit that has a record is not run")


@dataclass(frozen=True)
class _Inputs:
    """What a job's own units start from."""

    reference: Estimate
    driving: Estimate
    motion: Motion
    records: dict[str, dict[str, Record]]


class JobWorker:
    """What the workers of jobs have in common: reading what the sources' units left."""

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.stages = context.stages()
        self._body: Body | None = None

    def _body_file(self) -> Body:
        from pipelines.body.model import load_body

        if self._body is None:
            body = next(choice for choice in self.context.choices if choice.role == "body")
            self._body = load_body(body.files[0])
        return self._body

    def _inputs(self, job: PlannedJob) -> _Inputs | Outcome | None:
        """The inputs; how the job ends where one of them ended badly; None where one is not finished."""
        ledger = self.context.ledger
        read: dict[str, Estimate] = {}
        records: dict[str, dict[str, Record]] = {}
        for what, source in (("reference", job.reference), ("driving", job.driving)):
            found, last = ending(ledger, self.stages.units(source))
            if last is None:
                return None
            if last.status != "done":
                told = f"{what}: {last.outcome.message or last.outcome.reason}"
                return Outcome("quarantined", last.outcome.reason, told)
            records[what], read[what] = found, read_estimate(ledger, source, found)
        swap = SwapConfig(expression=job.spec.expression, anchor=job.spec.anchor)
        reference, driving = read["reference"], read["driving"]
        if reference.body.body_hash != driving.body.body_hash:
            return Outcome(
                "quarantined",
                "other_body_file",
                f"driving: the poses were fitted with body file {driving.body.body_hash[:12]}, the reference with "
                f"{reference.body.body_hash[:12]}; shapes do not carry over",
            )
        motion = swapped_motion(self._body_file(), reference.body, driving.body, driving.keypoints, swap)
        return _Inputs(reference, driving, motion, records)

    def _do(self, row: Row, unit: Unit, job: PlannedJob, work: Callable[[_Inputs, Path], Outcome]) -> Row:
        """Run a unit of a job on its inputs."""
        ledger = self.context.ledger
        done = ledger.record(unit.stage, unit.id)
        if done is not None:
            return _ended(row, done)
        inputs = self._inputs(job)
        if inputs is None:
            return {**row, STOP: "failed", MESSAGE: f"{job.name}: one of its inputs could not be finished"}

        def run(folder: Path) -> Outcome:
            assert inputs is not None
            return inputs if isinstance(inputs, Outcome) else work(inputs, folder)

        try:
            return _ended(row, run_unit(ledger, unit, self.context.run, run))
        finally:
            ledger.tidy()


class PreviewWorker(JobWorker):
    """The sheet of a job."""

    def __call__(self, row: Row) -> Row:
        if "job" not in row:
            return row
        job = PlannedJob.from_row(row["job"])
        unit = job_units(job, self.stages, None)[2]["preview"]

        def work(inputs: _Inputs, folder: Path) -> Outcome:
            framing = framing_of(job.spec, inputs.reference, job.size)
            cautions = cautions_of(inputs.reference, inputs.driving, inputs.motion)
            sheet = folder / SHEET_FILE
            write_sheet(sheet, inputs.reference, inputs.driving, inputs.motion, framing, cautions)
            return Outcome(info={"cautions": [asdict(caution) for caution in cautions]}, frames=len(inputs.motion))

        return self._do(row, unit, job, work)


class AnimateWorker(JobWorker):
    """Holds the model and samples jobs."""

    def __init__(self, context: RunContext, watch: Watch | None = None) -> None:
        super().__init__(context)
        self.watch = watch
        self._animator: Animator | None = None

    def __call__(self, row: Row) -> Row:
        if "job" not in row:
            return row
        job = PlannedJob.from_row(row["job"])
        return self._do(
            row, job_units(job, self.stages, self.context.animate(job))[2]["animate"], job, partial(self._sample, job)
        )

    def _sample(self, job: PlannedJob, inputs: _Inputs, folder: Path) -> Outcome:
        context, plan, model = self.context, self.context.plans[job.name], self.context.model
        assert model is not None
        if self._animator is None:
            self._animator = load_animator(model, devices_of(plan), plan.precision)
        place_visitors(self._animator, plan.offload)
        import torch

        framing = framing_of(job.spec, inputs.reference, job.size)
        watch = self.watch
        progress = None if watch is None else lambda done, total: watch(job.name, done, total)
        try:
            seconds = sample_video(
                self._animator,
                job.spec,
                inputs.reference,
                inputs.motion,
                inputs.driving.fps,
                framing,
                plan,
                context.settings.skeleton,
                context.settings.crf,
                folder,
                progress,
            )
        except torch.cuda.OutOfMemoryError as error:
            raise SetupError(
                f"the GPU's memory ran out ({str(error).splitlines()[0]}): give a smaller budget with --memory, in GB"
            ) from error
        return Outcome(info={"seconds": seconds}, frames=len(inputs.motion))


def devices_of(plan: SamplingPlan) -> tuple[str, ...]:
    """The devices of this process that the plan means: all the GPUs it is given, or the one that is named."""
    if plan.device != "cuda":
        return (plan.device,)
    import torch

    return tuple(f"cuda:{number}" for number in range(torch.cuda.device_count())) or ("cuda",)


class FinishWorker(JobWorker):
    """What follows sampling, on the CPU."""

    def __init__(self, context: RunContext) -> None:
        super().__init__(context)
        self.child = IsolatedWorker(SOUND_SECONDS, context.settings.isolation.memory_mb << 20)

    def __call__(self, row: Row) -> Row:
        if "job" not in row:
            return row
        job = PlannedJob.from_row(row["job"])
        units = job_units(job, self.stages, self.context.animate(job))[2]
        return self._do(row, units["finish"], job, partial(self._finish, job, units))

    def _finish(self, job: PlannedJob, units: Mapping[str, Unit], inputs: _Inputs, folder: Path) -> Outcome:
        context, model, plan = self.context, self.context.model, self.context.plans[job.name]
        assert model is not None
        sampled = context.ledger.record("animate", units["animate"].id)
        assert sampled is not None, "a job is finished after it was sampled"
        video = context.ledger.folder_of(sampled) / VIDEO_FILE
        unit = units["animate"].id
        notes = []
        silent = write_result(video, folder, job, unit, model.hash, inputs.driving, self.child.call)
        if silent:
            notes.append(silent)
        if job.spec.compare:
            write_comparison(video, folder, inputs.reference, inputs.driving, inputs.motion, context.settings.skeleton)
        if job.spec.poses:
            poses = pack_poses(inputs.driving.keypoints, inputs.driving.body, inputs.driving.fps)
            (folder / POSES_FILE).write_bytes(poses)
        named = {"reference": job.reference, "driving": job.driving}
        hashes = {what: {"title": source.label, "sha256": source.sha256} for what, source in named.items()}
        told = {"name": model.name, "hash": model.hash}
        claims = manifest(folder / RESULT_FILE, job.name, unit, told, hashes)
        (folder / MANIFEST_FILE).write_bytes(manifest_bytes(claims))
        cautions = cautions_of(inputs.reference, inputs.driving, inputs.motion)
        cautions += model_cautions(model, job.size, float(inputs.driving.fps))
        estimated = sum(record.seconds for records in inputs.records.values() for record in records.values())
        (folder / RECIPE_FILE).write_bytes(
            recipe(
                job=job,
                unit=unit,
                inputs={what: {**hashes[what], "options": s.options, "person": s.person} for what, s in named.items()},
                model={**told, "plan": asdict(plan)},
                estimators={
                    choice.role: {"estimator": choice.told, "files": {p.name: weight_digest(p) for p in choice.files}}
                    for choice in context.choices
                },
                framing=framing_of(job.spec, inputs.reference, job.size),
                fps=inputs.driving.fps,
                frames=len(inputs.motion),
                cautions=cautions,
                notes=notes,
                seconds={"estimate": estimated, **sampled.outcome.info["seconds"]},
            )
        )
        info = {"cautions": [asdict(caution) for caution in cautions]}
        return Outcome(info=info, notes=tuple(notes), frames=len(inputs.motion))


PUBLISHED = {
    RESULT_FILE: ".mp4",
    COMPARE_FILE: ".compare.mp4",
    RECIPE_FILE: ".json",
    MANIFEST_FILE: ".c2pa.json",
    POSES_FILE: ".poses.npz",
    SHEET_FILE: ".preview.png",
}
"""What a unit's file is called in the output folder, behind the job's name."""
