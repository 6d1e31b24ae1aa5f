"""The last phase: which shards there are to write, and what is known of those that are written."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pipelines.engine.atomic import digest
from pipelines.engine.executors import Row
from pipelines.job.dataset import SHARD_FACTS
from pipelines.job.lots import groups
from pipelines.job.plan import Plan, SourcePlan
from pipelines.job.samples import sample_inputs
from pipelines.job.stages import PackStage, annotate_units
from pipelines.job.tables import Tables
from pipelines.job.workers import PackWorker
from pipelines.shard_index import index_name

if TYPE_CHECKING:
    from pipelines.job.run import Job

log = logging.getLogger(__name__)
# Shards that are looked at, and packed, at a time.
SHARDS_AT_A_TIME = 1000
Facts = dict[str, Any]


class Packing:
    """Packs what is kept.

    A shard whose samples are made of the same as at the end of the last run is not looked at again. That is remembered
    in the file `memory` beside the lots' tables, and like them it may be removed at any time.
    """

    def __init__(self, job: Job, plan: Plan, tables: Tables, sources: Mapping[str, SourcePlan], memory: str) -> None:
        self.job = job
        self.context = job.context
        self.ledger = job.ledger
        self.store = job.context.store
        self.plan = plan
        self.tables = tables
        self.sources = sources
        self.memory = memory
        self.stage = PackStage()

    def pack(self) -> dict[str, Facts]:
        """Write the shards that are new, lost or made of other things now. Returns the facts of every shard."""
        self._plan_free()
        made = self.tables.shards()
        there = {entry.key: entry.size for entry in self.store.list_prefix("shards")}
        known = self._remembered()
        done: dict[str, Facts] = {
            name: known[name][1]
            for name, of in made.items()
            if name in known and known[name][0] == of and there.get(f"shards/{name}") == known[name][1]["bytes"]
        }
        left = [name for name in made if name not in done]
        if left:
            self.tables.gather(left)
        for some in groups(left, SHARDS_AT_A_TIME):
            done |= self._pack_some(some, there)
        if not left:
            self.job.push("pack", [], [])
        for shard in self.plan.each_shard():
            if shard.name not in done:
                for name in (shard.name, index_name(shard.name)):
                    self.store.delete(f"shards/{name}")
        memory = {"stage": self._stage_id(), "shards": {name: [made[name], facts] for name, facts in done.items()}}
        self.ledger.store.put(self.memory, json.dumps(memory).encode())
        self.tables.add_packed(done)
        return dict(sorted(done.items()))

    def _plan_free(self) -> None:
        """Give the kept clips that have no shard one."""
        before = 0
        for some in groups(self.plan.each_shard(), SHARDS_AT_A_TIME):
            self.tables.add_planned(some)
            before += len(some)
        self.plan.add_free(self.tables.free(), self.context.settings.pack.shard_mb << 20, before)
        for number, shard in enumerate(self.plan.each_shard()):
            if number >= before:
                self.tables.add_planned([shard])

    def _remembered(self) -> dict[str, tuple[str, Facts]]:
        try:
            memory = json.loads(self.ledger.store.get(self.memory))
            return memory["shards"] if memory["stage"] == self._stage_id() else {}
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError):
            log.warning("%s/%s is damaged: every shard is looked at", self.ledger.store.url, self.memory)
            return {}

    def _stage_id(self) -> str:
        return digest([self.stage.version, self.stage.identity()])

    def _pack_some(self, names: Sequence[str], there: Mapping[str, int]) -> dict[str, Facts]:
        units, rows = {}, list[tuple[int, Row]]()
        for shard, samples in self._samples(names):
            units[shard] = self.stage.unit(shard, samples)
            record = self.ledger.record("pack", units[shard].id)
            if record is not None and there.get(f"shards/{shard}") != record.outcome.info["bytes"]:
                log.warning("%s is missing or has another size than was committed: it is packed again", shard)
                self.ledger.reopen("pack", units[shard].id)
                record = None
            if record is None:
                rows.append((0, {"shard": shard, "samples": samples, "label": shard}))
        self.job.push("pack", rows, [self.job.pool("pack", partial(PackWorker, self.context))])
        facts = {}
        for shard, unit in units.items():
            record = self.ledger.record("pack", unit.id)
            if record is not None:
                self.job.speeds.add(record)
                facts[shard] = {fact: record.outcome.info[fact] for fact in SHARD_FACTS if fact in record.outcome.info}
        return facts

    def _samples(self, names: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Shards with what each of their samples is made of."""
        for shard, clips in self.tables.clips_of_shards(names):
            yield (
                shard,
                {
                    clip.key: sample_inputs(clip, annotate_units(self.job.stages, clip), self.sources[clip.source])
                    for clip in clips
                },
            )
