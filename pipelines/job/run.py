"""`vividpose shards`: the three phases one after the other, each skipping what the ledger already has."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

import yaml

from pipelines.annotate.checksums import weight_digest
from pipelines.annotate.choice import choose
from pipelines.body.body_file import FREE_BODY, read_body_file
from pipelines.engine.atomic import DiskFull, remove_unfinished
from pipelines.engine.executors import EXECUTORS, MESSAGE, STOP, Pool, Row, Worker
from pipelines.engine.ledger import Ledger, Record, Unit, new_run_id
from pipelines.engine.run_lock import only_run
from pipelines.engine.setup_error import SetupError
from pipelines.engine.storage import join, open_store
from pipelines.job.dataset import Entry, manifest_rows, write_dataset, write_manifest
from pipelines.job.intake import take_in
from pipelines.job.plan import Plan, SourcePlan, take_census
from pipelines.job.progress import Progress, RunState
from pipelines.job.samples import sample_bytes, sample_inputs
from pipelines.job.settings import PoolSettings, ShardsSettings
from pipelines.job.stages import (
    ANNOTATE_ORDER,
    Clip,
    IngestStage,
    PackStage,
    annotate_stages,
    annotate_units,
    clips_of,
    ending,
)
from pipelines.job.summary import Summary, speeds_of
from pipelines.job.workers import AnnotateWorker, IngestWorker, PackWorker, RunContext
from pipelines.settings import BadSettings, plain
from pipelines.shard_index import index_name

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
    with only_run(open_store(join(place, "work"))):
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
            plan.add_sources(found)
            census = take_census(plan.sources(), found)
            sources = census.unique
            job = Job(context, progress, risks)
            if retry_quarantined:
                job.reopen_quarantined(sources)
            job.ingest(sources)
            clips = job.clips(sources)
            job.annotate(clips)
            entries = job.entries(clips, sources)
            job.pack(plan, entries)
            shards = job.shard_records(plan, entries)
        write_dataset(store, shards, choices)
        ingested = job.ingest_records(sources)
        rows = manifest_rows(entries, census, ingested, shards)
        write_manifest(store, rows)
        records = [*ingested.values(), *shards.values(), *(r for e in entries.values() for r in e.records.values())]
        return Summary(
            out=place,
            sources=len(census),
            rows=rows,
            shards=shards,
            speeds=speeds_of(records, context.run),
            notes=[(sources[sha].name, note) for sha, record in ingested.items() for note in record.outcome.notes],
            failures=job.failures,
        )


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
        self.store = context.store
        self.risks = risks
        self.ledger: Ledger = context.ledger
        self.progress = progress
        self.stages = annotate_stages(context.settings, context.choices)
        self.failures: list[tuple[str, str]] = []

    def _ingest_unit(self, source: SourcePlan) -> Unit:
        assert source.sha256 is not None, "unique_sources leaves unreadable ones out"
        return IngestStage(self.context.settings).unit(source.sha256, source.name)

    def reopen_quarantined(self, sources: dict[str, SourcePlan]) -> None:
        """Let quarantined units of these sources be tried once more."""
        for source in sources.values():
            unit = self._ingest_unit(source)
            record = self.ledger.record("ingest", unit.id)
            if record is None:
                continue
            if record.status == "quarantined":
                self.ledger.reopen("ingest", unit.id)
                continue
            for clip in clips_of(record, source.sha256 or ""):
                for name, annotate_unit in annotate_units(self.stages, clip).items():
                    found = self.ledger.record(name, annotate_unit.id)
                    if found is not None and found.status == "quarantined":
                        self.ledger.reopen(name, annotate_unit.id)

    def ingest(self, sources: dict[str, SourcePlan]) -> None:
        rows: list[tuple[int, Row]] = []
        for sha256, source in sources.items():
            unit = self._ingest_unit(source)
            if self.ledger.record("ingest", unit.id) is None:
                risk = self.risks.get(unit.id, 0)
                rows.append((risk, {"source": sha256, "path": source.path, "name": source.name, "label": source.name}))
        self._run("ingest", rows, [self._pool("ingest", partial(IngestWorker, self.context))])

    def ingest_records(self, sources: dict[str, SourcePlan]) -> dict[str, Record]:
        """Records of the ingest units that have ended, by source."""
        records = {}
        for sha256, source in sources.items():
            record = self.ledger.record("ingest", self._ingest_unit(source).id)
            if record is not None:
                records[sha256] = record
        return records

    def clips(self, sources: dict[str, SourcePlan]) -> list[Clip]:
        """Every clip of every ingested source."""
        return [clip for sha256, record in self.ingest_records(sources).items() for clip in clips_of(record, sha256)]

    def annotate(self, clips: list[Clip]) -> None:
        rows: list[tuple[int, Row]] = []
        for clip in clips:
            units = annotate_units(self.stages, clip)
            records, last = ending(self.ledger, units)
            if last is None:
                following = units[next(name for name in units if name not in records)]
                risk = self.risks.get(following.id, 0)
                rows.append((risk, {"clip": asdict(clip), "label": clip.key}))
        pools = [
            self._pool(name, partial(AnnotateWorker, self.context, pool.stages))
            for name, pool in self.context.settings.pools.items()
            if pool.stages
        ]
        self._run("annotate", rows, pools)

    def entries(self, clips: list[Clip], sources: dict[str, SourcePlan]) -> dict[str, Entry]:
        """What is known of every clip now, by key, in the order of keys."""
        entries = {}
        for clip in sorted(clips, key=lambda clip: clip.key):
            units = annotate_units(self.stages, clip)
            records, last = ending(self.ledger, units)
            entries[clip.key] = Entry(clip, sources[clip.source], units, records, last)
        return entries

    def pack(self, plan: Plan, entries: dict[str, Entry]) -> None:
        sizes = {key: sample_bytes(entry.clip, entry.records) for key, entry in entries.items() if entry.kept}
        plan.add_shards(sizes, self.context.settings.pack.shard_mb << 20)
        there = {entry.key: entry.size for entry in self.store.list_prefix("shards")}
        rows: list[tuple[int, Row]] = []
        for shard, samples in self._shard_samples(plan, entries):
            unit = PackStage().unit(shard, samples)
            record = self.ledger.record("pack", unit.id)
            if record is not None and there.get(f"shards/{shard}") != record.outcome.info["bytes"]:
                log.warning("%s is missing or has another size than was committed: it is packed again", shard)
                self.ledger.reopen("pack", unit.id)
                record = None
            if record is None:
                rows.append((0, {"shard": shard, "samples": samples, "label": shard}))
        self._run("pack", rows, [self._pool("pack", partial(PackWorker, self.context))])

    def _shard_samples(self, plan: Plan, entries: dict[str, Entry]) -> Iterator[tuple[str, dict[str, dict]]]:
        """Shards that hold at least one kept clip, with what each of their samples is made of."""
        for shard in plan.shards():
            kept = [entries[key] for key in shard.keys if key in entries and entries[key].kept]
            samples = {entry.clip.key: sample_inputs(entry.clip, entry.units, entry.source) for entry in kept}
            if samples:
                yield shard.name, samples

    def shard_records(self, plan: Plan, entries: dict[str, Entry]) -> dict[str, Record]:
        """The committed shards of the dataset as it is now, by file name. Shards that are no more are removed."""
        records = {}
        for shard, samples in self._shard_samples(plan, entries):
            record = self.ledger.record("pack", PackStage().unit(shard, samples).id)
            if record is not None:
                records[shard] = record
        for planned in plan.shards():
            if planned.name not in records:
                for name in (planned.name, index_name(planned.name)):
                    self.store.delete(f"shards/{name}")
        return records

    def _pool(self, name: str, make: Callable[[], Worker]) -> Pool:
        settings: PoolSettings = self.context.settings.pools[name]
        return Pool(name, make, settings.workers, settings.cpus, settings.gpus, settings.rows)

    def _run(self, phase: str, rows: list[tuple[int, Row]], pools: list[Pool]) -> None:
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
