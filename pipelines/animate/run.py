"""`vividpose animate`: jobs to videos, one pipeline of units in which estimating, sampling and finishing overlap."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import yaml

from pipelines.animate.estimates import ending
from pipelines.animate.jobs import JobLine
from pipelines.animate.memory import NoRoom, Planner
from pipelines.animate.model_check import check_model, model_cautions, skeleton_of
from pipelines.animate.model_source import ModelFacts, find_model
from pipelines.animate.planned import PlannedJob, Refused, job_units, plan_jobs
from pipelines.animate.publish import publish
from pipelines.animate.sampling import SamplingPlan
from pipelines.animate.settings import AnimateSettings
from pipelines.animate.sources import Source
from pipelines.animate.summary import Ending, Summary
from pipelines.animate.workers import AnimateWorker, FinishWorker, PreviewWorker, RunContext, SourceWorker, Watch
from pipelines.annotate.checksums import weight_digest
from pipelines.annotate.choice import Choice, choose
from pipelines.engine.atomic import DiskFull
from pipelines.engine.executors import EXECUTORS, MESSAGE, STOP, Pool, Row, Worker
from pipelines.engine.ledger import Record, new_run_id
from pipelines.engine.run_lock import only_run
from pipelines.engine.scratch import scratch_folder
from pipelines.engine.setup_error import SetupError
from pipelines.engine.storage import join, open_store
from pipelines.ingest.content_hash import HashCache
from pipelines.job.progress import Progress
from pipelines.job.run import TooManyFailures, check_body
from pipelines.job.settings import PoolSettings
from pipelines.settings import BadSettings, plain

log = logging.getLogger(__name__)
HASHES = "hashes.jsonl"
POOLS = ("take", "perceive", "body", "animate", "finish")
Tell = Callable[[str], None]


def run_animate(
    lines: list[JobLine],
    out: Path | str,
    settings: AnimateSettings,
    *,
    base: Path,
    work: Path | str | None = None,
    preview: bool = False,
    retry_quarantined: bool = False,
    tell: Tell = lambda text: None,
    watch: Watch | None = None,
) -> Summary:
    """Do the jobs into `out`. Returns how each ended; raises `DiskFull`, `Busy`, `SetupError`, ...

    base: what relative paths of jobs start from. work: the ledger, `out/work` by default. preview: only make sheets;
    the model is not loaded. tell: is given the plan, line by line. watch: sees sampling progress with executor inline.
    """
    _check_pools(settings)
    choices = tuple(choose(settings.profile))
    check_body(choices[-1].files[0])
    store = open_store(out)
    work_store = open_store(work if work is not None else join(store.url, "work"))
    with only_run(work_store), _content(work_store.local(HASHES)) as content:
        model = find_model(settings.model, (lambda path: "") if preview else content)
        settings = replace(settings, skeleton=cast(Any, skeleton_of(settings.skeleton, model)))
        if not preview:
            check_model(model)
        _tell(tell, choices, model, preview)
        jobs, refused = plan_jobs(lines, settings, model, base, content)
        for size in sorted({job.size for job in jobs}):
            for caution in model_cautions(model, size, None):
                tell(f"{'caution':<10} {caution.message}")
        plans: dict[str, SamplingPlan] = {}
        if not preview:
            jobs, plans, too_large = _plan_memory(jobs, Planner(settings, model, work_store, tell))
            refused += too_large
        context = RunContext(
            work=work_store.url,
            run=new_run_id(),
            settings=settings,
            choices=choices,
            checksums={str(path): weight_digest(path) for choice in choices for path in choice.files},
            model=None if preview else model,
            plans=plans,
        )
        removed, risks = context.ledger.sweep()
        if removed:
            log.info("removed %d unfinished folders of earlier runs", removed)
        # The folder of a single result belongs to the user.
        (store if work is None else work_store).put(
            "animate.yaml", yaml.safe_dump(plain(settings), sort_keys=False).encode()
        )
        run = Run(context, jobs, risks)
        if retry_quarantined:
            run.reopen_quarantined()
        with Progress() as progress:
            for row in run.execute(progress, watch):
                if "job" in row:
                    publish(context.ledger, store, run.units[row["label"]], run.jobs[row["label"]])
        for job in jobs:  # what earlier runs finished
            publish(context.ledger, store, run.units[job.name], job)
        return run.summary(store.url, refused, preview)


class Run:
    """One run over its jobs: which rows there are, in an order in which a job comes after its sources."""

    def __init__(self, context: RunContext, jobs: list[PlannedJob], risks: Any) -> None:
        self.context = context
        self.ledger = context.ledger
        self.stages = context.stages()
        self.jobs = {job.name: job for job in jobs}
        self.units = {job.name: job_units(job, self.stages, context.animate(job))[2] for job in jobs}
        self.risks = risks
        self.failures: list[tuple[str, str]] = []

    @property
    def final(self) -> str:
        """The stage that ends a job."""
        return "preview" if self.context.model is None else "finish"

    def record(self, name: str) -> Record | None:
        """How a job ended, or None while it has not."""
        units = self.units[name]
        wanted = ("preview",) if self.final == "preview" else ("animate", "finish")
        record = None
        for stage in wanted:
            record = self.ledger.record(stage, units[stage].id)
            if record is None or record.status != "done":
                return record
        return record

    def reopen_quarantined(self) -> None:
        """Let the quarantined units of these jobs and of their sources be tried once more."""
        for name, job in self.jobs.items():
            groups = (self.stages.units(job.reference), self.stages.units(job.driving), self.units[name])
            for unit in (unit for group in groups for unit in group.values()):
                record = self.ledger.record(unit.stage, unit.id)
                if record is not None and record.status == "quarantined":
                    self.ledger.reopen(unit.stage, unit.id)

    def rows(self) -> list[Row]:
        """Each source that still has work, once, before the first job that needs it; jobs that were at work when an
        earlier run was killed come last."""
        waiting = [job for name, job in self.jobs.items() if self.record(name) is None]
        waiting.sort(key=lambda job: self._risk(job))
        rows: list[Row] = []
        listed: set[str] = set()
        for job in waiting:
            for source in (job.reference, job.driving):
                units = self.stages.units(source)
                key = "".join(unit.id for unit in units.values())
                if key not in listed and ending(self.ledger, units)[1] is None:
                    listed.add(key)
                    rows.append({"source": _source_row(source), "label": source.label})
            rows.append({"job": job.to_row(), "label": job.name})
        return rows

    def _risk(self, job: PlannedJob) -> int:
        groups = (self.stages.units(job.reference), self.stages.units(job.driving), self.units[job.name])
        return max(self.risks.get(unit.id, 0) for group in groups for unit in group.values())

    def pools(self, watch: Watch | None) -> list[Pool]:
        context = self.context
        makers: dict[str, Callable[[], Worker]] = {
            "take": partial(SourceWorker, context, ()),
            "perceive": partial(SourceWorker, context, context.settings.pools["perceive"].stages),
            "body": partial(SourceWorker, context, context.settings.pools["body"].stages),
        }
        if self.final == "preview":
            makers["finish"] = partial(PreviewWorker, context)
        else:
            shown = watch if context.settings.executor == "inline" else None
            makers["animate"] = partial(AnimateWorker, context, shown)
            makers["finish"] = partial(FinishWorker, context)
        return [self._pool(name, make) for name, make in makers.items()]

    def _pool(self, name: str, make: Callable[[], Worker]) -> Pool:
        settings: PoolSettings = self.context.settings.pools[name]
        gpus = settings.gpus
        workers = settings.workers
        if name == "animate":
            cuda = any(plan.device.startswith("cuda") for plan in self.context.plans.values())
            gpus = gpus or float(cuda)
            # A model for each core of a CPU would not fit.
            workers = workers or (0 if cuda else 1)
        # A row at a time: a pool would otherwise hold a source back behind a job.
        return Pool(name, make, workers, settings.cpus, gpus, 1)

    def execute(self, progress: Progress, watch: Watch | None) -> Iterator[Row]:
        """Push the rows through the pools; each that comes out."""
        rows = self.rows()
        execute = EXECUTORS[self.context.settings.executor]
        with progress.phase("animate", len(rows)) as advance, ExitStack() as stack:
            if not rows:
                return
            if self.context.settings.executor == "ray":
                stack.enter_context(_in_order())
            for row in execute(rows, self.pools(watch)):
                advance(row)
                if row.get(STOP) == "disk_full":
                    raise DiskFull(row[MESSAGE])
                if row.get(STOP) == "setup":
                    raise SetupError(row[MESSAGE])
                if row.get(STOP) == "failed":
                    self.failures.append((row["label"], row[MESSAGE]))
                    if len(self.failures) >= self.context.settings.max_failures:
                        where, trace = self.failures[-1]
                        raise TooManyFailures(f"{len(self.failures)} unexpected errors; the last at {where}:\n{trace}")
                yield row

    def summary(self, out: str, refused: list[Refused], preview: bool) -> Summary:
        endings = [Ending(r.name or r.where, r.where, "quarantined", r.reason, r.message) for r in refused]
        seconds: dict[str, float] = {}
        counted: set[str] = set()
        for name, job in self.jobs.items():
            record = self.record(name)
            if record is None:
                endings.append(Ending(name, job.where, "failed", None, "not finished"))
                continue
            outcome = record.outcome
            cautions = tuple(f"{c['key']}: {c['message']}" for c in outcome.info.get("cautions", ()))
            endings.append(
                Ending(
                    name,
                    job.where,
                    record.status,
                    outcome.reason,
                    outcome.message,
                    cautions,
                    outcome.notes,
                    outcome.frames,
                )
            )
            for part, spent in self._spent(job, counted).items():
                seconds[part] = seconds.get(part, 0.0) + spent
        return Summary(out, endings, seconds, self.failures, preview)

    def _spent(self, job: PlannedJob, counted: set[str]) -> dict[str, float]:
        """Seconds by part that this run spent on a job, each unit counted once."""
        spent: dict[str, float] = {}
        groups = (self.stages.units(job.reference), self.stages.units(job.driving), self.units[job.name])
        for unit in (unit for group in groups for unit in group.values()):
            record = self.ledger.record(unit.stage, unit.id)
            if record is None or record.run != self.context.run or unit.id in counted:
                continue
            counted.add(unit.id)
            if unit.stage == "animate":
                parts = record.outcome.info.get("seconds", {})
            else:
                parts = {unit.stage if unit.stage in ("finish", "preview") else "estimate": record.seconds}
            for part, seconds in parts.items():
                spent[part] = spent.get(part, 0.0) + seconds
        return spent


@contextmanager
def _in_order() -> Iterator[None]:
    """Ray Data hands rows on in their order, so that a job reaches the model after its sources left their pools."""
    import ray

    options = ray.data.DataContext.get_current().execution_options
    before = options.preserve_order
    options.preserve_order = True
    try:
        yield
    finally:
        options.preserve_order = before


@contextmanager
def _content(cache: Path | None) -> Iterator[Callable[[Path], str]]:
    """sha256 of files, remembered beside the ledger; for this run only where that lies in an object store."""
    with HashCache(cache if cache is not None else scratch_folder("hashes") / HASHES) as hashes:
        yield hashes


def _plan_memory(
    jobs: list[PlannedJob], planner: Planner
) -> tuple[list[PlannedJob], dict[str, SamplingPlan], list[Refused]]:
    """A plan for each job that fits into memory, and those that do not."""
    plans: dict[str, SamplingPlan] = {}
    refused = []
    for job in jobs:
        try:
            plans[job.name] = planner(job.size, job.spec.steps)
        except NoRoom as error:
            refused.append(Refused(job.where, job.name, "no_memory", f"{job.where}: {error}"))
    return [job for job in jobs if job.name in plans], plans, refused


def _source_row(source: Source) -> dict[str, Any]:
    return {
        "kind": source.kind,
        "path": source.path,
        "sha256": source.sha256,
        "options": source.options,
        "person": source.person,
    }


def _check_pools(settings: AnimateSettings) -> None:
    if settings.executor not in EXECUTORS:
        raise BadSettings(f"executor: there are {', '.join(EXECUTORS)}, not {settings.executor!r}")
    if tuple(settings.pools) != POOLS:
        raise BadSettings(f"pools: they must be {', '.join(POOLS)}; got {', '.join(settings.pools)}")
    named = settings.pools["perceive"].stages, settings.pools["body"].stages
    if named != (("people", "keypoints", "face", "estimate"), ("body",)):
        raise BadSettings("pools: the stages of perceive are people, keypoints, face, estimate; that of body is body")


def _tell(tell: Tell, choices: tuple[Choice, ...], model: ModelFacts, preview: bool) -> None:
    for choice in choices:
        tell(f"{choice.role:<10} {choice.told}  ({choice.why})")
        for line in choice.licences:
            tell(f"{'':<10} licence of {line}")
    if any(choice.role == "face" and not choice.files for choice in choices):
        tell(f"{'':<10} no recogniser: the model is not given the reference's face")
    tell(f"{'model':<10} {'not loaded: sheets only' if preview else model.told}")
