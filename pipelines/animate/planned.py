"""A job as planned: its inputs by content, and the units that make its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.animate.estimates import Stages
from pipelines.animate.jobs import BadJob, JobLine, JobSpec
from pipelines.animate.model_source import ModelFacts
from pipelines.animate.sampling import SamplingPlan
from pipelines.animate.settings import AnimateSettings
from pipelines.animate.sources import Source, driving_of, reference_of
from pipelines.engine.atomic import digest
from pipelines.engine.ledger import Unit
from pipelines.engine.stage import unit_of

SUFFIXES = (".mp4", ".compare.mp4", ".json", ".c2pa.json", ".poses.npz", ".preview.png", ".frames")
"""Of the files in the output folder, behind a job's name."""
# What changes the pixels of a result; the other fields of a job say which files are written.
PIXEL_FIELDS = (
    "seed",
    "steps",
    "schedule",
    "guidance",
    "motion_bucket",
    "noise_aug",
    "framing",
    "expression",
    "anchor",
    "frames",
)


@dataclass(frozen=True)
class PlannedJob:
    """where: its line in the job file. name: of its files, unique in the run. size: (width, height) of the model."""

    where: str
    name: str
    spec: JobSpec
    size: tuple[int, int]
    reference: Source
    driving: Source

    def to_row(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> PlannedJob:
        spec: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row["spec"].items()}
        parts = {"reference": Source(**row["reference"]), "driving": Source(**row["driving"])}
        return cls(row["where"], row["name"], JobSpec(**spec), (row["size"][0], row["size"][1]), **parts)


@dataclass(frozen=True)
class Refused:
    """A job that cannot be planned. reason: a stable key."""

    where: str
    name: str | None
    reason: str
    message: str


@dataclass(frozen=True)
class AnimateStage:
    """Sampling a video. identity: the model, the plan, and what the maps are made with."""

    model: ModelFacts
    plan: SamplingPlan
    skeleton: str
    crf: int
    name: str = "animate"
    version: str = "1"

    def identity(self) -> dict[str, Any]:
        return {"model": self.model.hash, "plan": self.plan.identity(), "skeleton": self.skeleton, "crf": self.crf}


@dataclass(frozen=True)
class FinishStage:
    """Tags, sound, comparison, manifest."""

    name: str = "finish"
    version: str = "1"

    def identity(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True)
class PreviewStage:
    """A sheet to look at."""

    name: str = "preview"
    version: str = "1"

    def identity(self) -> dict[str, Any]:
        return {}


def job_units(
    job: PlannedJob, stages: Stages, animate: AnimateStage | None
) -> tuple[dict[str, Unit], dict[str, Unit], dict[str, Unit]]:
    """(units of the reference, units of the driver, the job's own: preview, then animate and finish where there is a
    model)."""
    reference, driving = stages.units(job.reference), stages.units(job.driving)
    spec = asdict(job.spec)
    inputs = {
        "reference": {name: unit.id for name, unit in reference.items()},
        "driving": {name: unit.id for name, unit in driving.items()},
        "size": list(job.size),
    }
    swap = {name: spec[name] for name in ("framing", "expression", "anchor")}
    own = {"preview": unit_of(PreviewStage(), job.name, {**inputs, "swap": swap})}
    if animate is not None:
        sampled = unit_of(animate, job.name, {**inputs, "job": {name: spec[name] for name in PIXEL_FIELDS}})
        extra = {"audio": job.spec.audio, "compare": job.spec.compare, "poses": job.spec.poses}
        made = {"animate": sampled.id, "name": job.name, **extra}
        own |= {"animate": sampled, "finish": unit_of(FinishStage(), job.name, made)}
    return reference, driving, own


def plan_jobs(
    lines: list[JobLine],
    settings: AnimateSettings,
    model: ModelFacts | None,
    base: Path,
    content: Callable[[Path], str],
) -> tuple[list[PlannedJob], list[Refused]]:
    """Look at every line: jobs that can be begun, and those that cannot, with reasons."""
    root = Path(settings.root).resolve() if settings.root is not None else None
    planned: list[PlannedJob] = []
    refused: list[Refused] = []
    names: dict[str, str] = {}
    for line in lines:
        try:
            job = _plan(line, model, base, root, content)
            files = [f"{job.name}{suffix}" for suffix in SUFFIXES]
            if taken := next((file for file in files if file in names), None):
                told = "is the same job" if job.spec.name is None else f"writes {taken!r} already"
                raise BadJob("duplicate", f"{line.where}: {names[taken]} {told}")
        except BadJob as error:
            told = str(error) if line.where in str(error) else f"{line.where}: {error}"
            refused.append(Refused(line.where, line.spec.name if line.spec else None, error.reason, told))
            continue
        names |= dict.fromkeys(files, line.where)
        planned.append(job)
    return planned, refused


def _plan(
    line: JobLine, model: ModelFacts | None, base: Path, root: Path | None, content: Callable[[Path], str]
) -> PlannedJob:
    if line.spec is None:
        reason, message = line.problem or ("bad_job", f"{line.where}: is no job")
        raise BadJob(reason, message)
    spec = line.spec
    size = spec.size or (model.size if model else (512, 768))
    if model is not None and (size[0] % model.multiple or size[1] % model.multiple):
        near = tuple(max(model.multiple, round(side / model.multiple) * model.multiple) for side in size)
        raise BadJob(
            "bad_size",
            f"{line.where}: size: the model wants sides that are multiples of {model.multiple}, got "
            f"{size[0]}x{size[1]}; {near[0]}x{near[1]} is the nearest",
        )
    if model is not None and size[0] * size[1] > 8 * model.size[0] * model.size[1]:
        raise BadJob(
            "bad_size",
            f"{line.where}: size: {size[0]}x{size[1]} is more than 8 times the {model.size[0]}x{model.size[1]} that "
            "the model was made for",
        )
    reference = reference_of(spec, base, root, content)
    driving = driving_of(spec, base, root, content)
    name = spec.name or _default_name(spec, reference, driving, size)
    return PlannedJob(line.where, name, spec, size, reference, driving)


def _default_name(spec: JobSpec, reference: Source, driving: Source, size: tuple[int, int]) -> str:
    """From the inputs' names, with the first digits of what makes the job this job."""
    facts = {name: value for name, value in asdict(spec).items() if name not in ("reference", "driving", "name")}
    what = digest([reference.sha256, driving.sha256, driving.options, list(size), facts])[:8]
    stems = "-".join(_slug(Path(source.path).name.partition(".")[0]) for source in (reference, driving))
    return f"{stems}-{what}"


def _slug(text: str) -> str:
    kept = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in text)[:40]
    return kept.strip("_") or "input"
