"""`vividpose shards`: the three phases one after the other, each skipping what the ledger already has."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

import yaml

from pipelines.annotate.checksums import weight_digest
from pipelines.annotate.choice import choose
from pipelines.annotate.clip_stage import ClipStage
from pipelines.body.body_file import FREE_BODY, read_body_file
from pipelines.engine.atomic import DiskFull, digest, remove_unfinished
from pipelines.engine.executors import EXECUTORS, MESSAGE, STOP, Pool, Row, Worker
from pipelines.engine.ledger import Ledger, Record, Unit, new_run_id
from pipelines.engine.run_lock import only_run
from pipelines.engine.scratch import scratch_folder
from pipelines.engine.setup_error import SetupError
from pipelines.engine.stage import Stage
from pipelines.engine.storage import Store, join, open_store
from pipelines.job.dataset import Entry, lot_rows, rows_without_lot, write_dataset
from pipelines.job.intake import take_in
from pipelines.job.lots import WAVE_CLIPS, Lot, LotTables, cut_lots, groups, waves
from pipelines.job.packing import Packing
from pipelines.job.plan import Plan, SourcePlan, first_met, take_census
from pipelines.job.progress import Progress, RunState
from pipelines.job.settings import PoolSettings, ShardsSettings
from pipelines.job.stages import (
    ANNOTATE_ORDER,
    Clip,
    IngestStage,
    annotate_stages,
    annotate_units,
    clips_of,
    ending,
)
from pipelines.job.summary import MOST_NOTES, Speeds, Summary, read_manifest
from pipelines.job.tables import Tables
from pipelines.job.workers import AnnotateWorker, IngestWorker, RunContext
from pipelines.settings import BadSettings, plain

log = logging.getLogger(__name__)


class TooManyFailures(RuntimeError):
    """Many unexpected errors: something is wrong with the software or its set-up, not with one video."""


def run_shards(src: str, out: Path | str, settings: ShardsSettings, *, retry_quarantined: bool = False) -> Summary:
    """Turn the videos of `src` into shards under `out`. Returns what happened; raises `DiskFull`, `Busy`, ..."""
    _check_pools(settings)
    choices = tuple(choose(settings.profile))
    check_body(choices[-1].files[0])
    store = open_store(out)
    place = store.url
    work = open_store(join(place, "work"))
    with only_run(work):
        checksums = {str(path): weight_digest(path) for choice in choices for path in choice.files}
        context = RunContext(place, new_run_id(), settings, choices, checksums)
        ledger, plan = context.ledger, Plan(join(place, "work"))
        removed, risks = ledger.sweep()
        if (shards_folder := store.local("shards")) is not None:
            removed += remove_unfinished(shards_folder)
        if removed:
            log.info("removed %d unfinished files and folders of earlier runs", removed)
        store.put("config.yaml", yaml.safe_dump(plain(settings), sort_keys=False).encode())
        with RunState(ledger.store, context.run) as state, Progress(state=state) as progress:
            found = take_in(src, place, progress)
            planned, _ = plan.merge_sources(found)
            census = take_census(planned, found)
            job = Job(context, progress, risks)
            lots = cut_lots([sha256 for sha256 in first_met(planned) if sha256 in census.unique])
            del found, planned  # Millions of sources, which the census holds.
            with scratch(work) as folder:
                kept = LotTables(ledger.store, pipeline_id(job.stages, settings), folder)
                if retry_quarantined:
                    job.reopen_quarantined(lots, kept, census.unique)
                job.work(lots, kept, census.unique)
                tables = Tables(folder, [kept.path(lot) for lot in lots])
                tables.add_census(census)
                packing = Packing(job, plan, tables, census.unique, kept.packed)
                shards = packing.pack()
                kept.remove_stale(lots)
                write_dataset(store, shards, choices)
                with store.writing("manifest.parquet") as path:
                    tables.write_manifest(path, rows_without_lot(census))
                    told = read_manifest(path)
                notes = [(census.unique[sha256].name, note) for sha256, note in tables.notes(MOST_NOTES)]
                tables.close()
        return Summary(
            out=place,
            sources=len(census),
            told=told,
            shards=shards,
            speeds=job.speeds.totals(),
            notes=notes,
            failures=job.failures,
        )


@contextmanager
def scratch(work: Store) -> Iterator[Path]:
    """A folder for the tables of this run: beside the work where that is a folder, else on this machine."""
    here = work.local("tables")
    folder = scratch_folder("tables") if here is None else here
    try:
        if here is not None:
            shutil.rmtree(here, ignore_errors=True)
            here.mkdir(parents=True)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def pipeline_id(stages: Mapping[str, ClipStage], settings: ShardsSettings) -> str:
    """Stands for every stage up to packing, its version and all it depends on."""
    all_of_them: list[Stage] = [IngestStage(settings), *stages.values()]
    return digest([[stage.name, stage.version, stage.identity()] for stage in all_of_them])[:16]


def check_body(path: Path) -> None:
    """Read the body file once, before any work is spent on a wrong one. Raises BodyFileError."""
    if path != FREE_BODY:
        read_body_file(path)


def _check_pools(settings: ShardsSettings) -> None:
    for name in ("ingest", "pack"):
        if name not in settings.pools:
            raise BadSettings(f"pools: there must be a pool {name!r}")
    named = [stage for pool in settings.pools.values() for stage in pool.stages]
    if tuple(named) != ANNOTATE_ORDER:
        raise BadSettings(
            f"pools: the stages, pool after pool, must be {', '.join(ANNOTATE_ORDER)}; got {', '.join(named) or 'none'}"
        )


class Job:
    """One run: knows the ledger and the executor, and keeps the unexpected failures."""

    def __init__(self, context: RunContext, progress: Progress, risks: Mapping[str, int]) -> None:
        self.context = context
        self.risks = risks
        self.ledger: Ledger = context.ledger
        self.progress = progress
        self.stages = annotate_stages(context.settings, context.choices)
        self.failures: list[tuple[str, str]] = []
        self.speeds = Speeds(context.run)

    def _ingest_unit(self, source: SourcePlan) -> Unit:
        assert source.sha256 is not None, "a census leaves unreadable sources out"
        return IngestStage(self.context.settings).unit(source.sha256, source.name)

    def reopen_quarantined(self, lots: Sequence[Lot], kept: LotTables, sources: Mapping[str, SourcePlan]) -> None:
        """Let quarantined units of these sources be tried once more."""
        for lot in lots:
            reopened = 0
            ingested = self.ingest_records({sha256: sources[sha256] for sha256 in lot.sources})
            for sha256, record in ingested.items():
                if record.status == "quarantined":
                    reopened += self.ledger.reopen("ingest", record.unit)
                    continue
                for clip in clips_of(record, sha256):
                    _, last = ending(self.ledger, annotate_units(self.stages, clip))
                    if last is not None and last.status == "quarantined":
                        reopened += self.ledger.reopen(last.stage, last.unit)
            if reopened:
                kept.unseal(lot)

    def work(self, lots: Sequence[Lot], kept: LotTables, sources: Mapping[str, SourcePlan]) -> None:
        """Ingest and annotate what is left of the lots, and write down what became of each."""
        left = [lot for lot in lots if lot.id not in kept.sealed]
        if not left:
            self.push("ingest", [], [])
            self.push("annotate", [], [])
        for wave in waves(left):
            some = {sha256: sources[sha256] for lot in wave for sha256 in lot.sources}
            self.ingest(some)
            ingested = self.ingest_records(some)
            clips = (clip for sha256, record in ingested.items() for clip in clips_of(record, sha256))
            for part in groups(clips, WAVE_CLIPS) if ingested else [()]:
                self.annotate(part)
            for lot in wave:
                self._write_down(lot, kept, {sha256: ingested[sha256] for sha256 in lot.sources if sha256 in ingested})

    def _write_down(self, lot: Lot, kept: LotTables, ingested: Mapping[str, Record]) -> None:
        entries = []
        for sha256, record in ingested.items():
            self.speeds.add(record)
            for clip in clips_of(record, sha256):
                records, last = ending(self.ledger, annotate_units(self.stages, clip))
                entries.append(Entry(clip, records, last))
                for each in records.values():
                    self.speeds.add(each)
        rows = lot_rows(lot.sources, ingested, entries)
        kept.write(lot, rows, seal=all(row.get("state") != "failed" for row in rows))

    def ingest(self, sources: Mapping[str, SourcePlan]) -> None:
        """Cut the sources that have not been cut yet."""
        rows: list[tuple[int, Row]] = []
        units = [self._ingest_unit(source) for source in sources.values()]
        for unit, source, record in zip(units, sources.values(), self.ledger.records_of(units)):
            if record is None:
                risk = self.risks.get(unit.id, 0)
                row = {"source": source.sha256, "path": source.path, "name": source.name, "label": source.name}
                rows.append((risk, row))
        self.push("ingest", rows, [self.pool("ingest", partial(IngestWorker, self.context))])

    def ingest_records(self, sources: Mapping[str, SourcePlan]) -> dict[str, Record]:
        """Records of the ingest units that have ended, by source."""
        units = [self._ingest_unit(source) for source in sources.values()]
        found = zip(sources, self.ledger.records_of(units))
        return {sha256: record for sha256, record in found if record is not None}

    def annotate(self, clips: Sequence[Clip]) -> None:
        """Take the clips that have work left through the stages."""
        rows: list[tuple[int, Row]] = []
        for clip in clips:
            units = annotate_units(self.stages, clip)
            records, last = ending(self.ledger, units)
            if last is None:
                following = units[next(name for name in units if name not in records)]
                rows.append((self.risks.get(following.id, 0), {"clip": asdict(clip), "label": clip.key}))
        pools = [
            self.pool(name, partial(AnnotateWorker, self.context, pool.stages))
            for name, pool in self.context.settings.pools.items()
            if pool.stages
        ]
        self.push("annotate", rows, pools)

    def pool(self, name: str, make: Callable[[], Worker]) -> Pool:
        """The pool of that name as it was set."""
        settings: PoolSettings = self.context.settings.pools[name]
        return Pool(name, make, settings.workers, settings.cpus, settings.gpus, settings.rows)

    def push(self, phase: str, rows: Sequence[tuple[int, Row]], pools: Sequence[Pool]) -> None:
        """Push rows through the executor. Units that were at work when earlier runs were killed come last."""
        ordered = [row for _, row in sorted(rows, key=lambda pair: pair[0])]
        execute = EXECUTORS[self.context.settings.executor]
        with self.progress.phase(phase, len(ordered)) as advance:
            if not ordered:
                return
            for row in execute(ordered, pools, partial(self.ledger.forgive, self.context.run)):
                advance(row)
                if row.get(STOP) == "disk_full":
                    raise DiskFull(row[MESSAGE])
                if row.get(STOP) == "setup":
                    raise SetupError(row[MESSAGE])
                if row.get(STOP) == "failed":
                    self.failures.append((f"{phase}: {row['label']}", row[MESSAGE]))
                    if len(self.failures) >= self.context.settings.max_failures:
                        where, trace = self.failures[-1]
                        raise TooManyFailures(f"{len(self.failures)} unexpected errors; the last at {where}:\n{trace}")
