"""Withdrawal: take a source, a person or an uploader out of a dataset, keep it out, and prove that it is gone.

The order is what makes it safe to end the process at any moment and run it again:

1. `OUT/tombstones.jsonl` says what is withdrawn: from here on no run of `vividpose shards` takes it in.
2. `OUT/withdrawal.json` says what will be looked for at the end, while it is still there to be read.
3. shards, dataset.json, work, manifest and everything else are cleared; each step does nothing where it was done.
4. every byte under OUT is searched. Only when nothing is found does withdrawal.json go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.audit import tombstones
from pipelines.audit.forget_search import PREFIX, Proof, Traces, files_under, search
from pipelines.audit.forget_select import (
    NotFound,
    SourceFacts,
    by_identity,
    by_source,
    by_uploader,
    closure,
    known_sources,
)
from pipelines.audit.forget_shards import ShardFacts, belongs, keys_of, rewrite, traces_of, write_index
from pipelines.audit.forget_tables import filter_table, forget_elsewhere
from pipelines.audit.forget_work import forget_in_plan, forget_shard, forget_units
from pipelines.audit.schema import audit_folder
from pipelines.audit.tombstones import Tombstone, Tombstones, keyed, new_salt
from pipelines.engine.atomic import digest, write_whole
from pipelines.engine.run_lock import only_run
from pipelines.engine.storage import open_store

# As `whole_file` names what it has not finished.
UNFINISHED = re.compile(r"\..+\.tmp\.[0-9a-f]{12}")
JOURNAL = "withdrawal.json"
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What to withdraw. Exactly one of source, identity and uploader, or none: finish what was begun.

    reason goes into the tombstone, so it should name a ticket, not a person.
    """

    reason: str
    source: str | None = None
    identity: str | None = None
    uploader: str | None = None

    @property
    def kind(self) -> str:
        return next((name for name in ("source", "identity", "uploader") if getattr(self, name) is not None), "")


@dataclass
class Withdrawal:
    """What was withdrawn, or would be. shards: those that hold samples of it, with their keys."""

    sources: list[SourceFacts]
    shards: dict[str, list[str]]
    stones: list[Tombstone]
    done: list[str] = field(default_factory=list)
    proof: Proof | None = None

    @property
    def clips(self) -> int:
        return sum(len(keys) for keys in self.shards.values())


def forget(out: Path, request: Request, *, dry_run: bool = False, tell: Tell = lambda line: None) -> Withdrawal:
    """Withdraw what is asked for and everything that was withdrawn before but is still there.

    Raises `NotFound`, `Busy` while a run is at work on `out`, `DamagedShard` before anything is removed.
    """
    out = out.absolute()
    if not (out / "shards").is_dir() and not (out / "work").is_dir():
        raise NotFound(f"{out} is no output folder of `vividpose shards`: it has neither shards nor work")
    with only_run(open_store(out / "work")), _no_audit(out):
        known = known_sources(out)
        stones = _stones(out, known, request)
        all_stones = Tombstones([*Tombstones.read(out).stones, *stones])
        covered = closure(known.values(), all_stones)
        prefixes = frozenset(sha256[:PREFIX] for sha256 in covered | all_stones.sources)
        tell(f"reading the shards of {out}")
        shards = {path.name: [key for key in keys_of(path) if belongs(key, prefixes)] for path in _tars(out)}
        plan = Withdrawal([known[sha] for sha in sorted(covered)], {n: k for n, k in shards.items() if k}, stones)
        if dry_run:
            return plan
        journal = _begin(out, plan, prefixes)
        _clear(out, plan, prefixes, journal, tell)
        _remove_unfinished(out)
        tell("searching every byte")
        plan.proof = search(out, _looked_for(out, journal, prefixes), _not_searched(out))
        if plan.proof.clean:
            (out / JOURNAL).unlink()
    return plan


@contextmanager
def _no_audit(out: Path) -> Iterator[None]:
    """Keep audits out meanwhile; one that is at work makes this `Busy`."""
    work = audit_folder(out) / "work"
    if not work.is_dir():
        yield
        return
    with only_run(open_store(work)):
        yield


def _stones(out: Path, known: dict[str, SourceFacts], request: Request) -> list[Tombstone]:
    """New tombstones for what is asked; none for what has one already.

    A URL that other sources have as well, which are not asked for, stays out of them: it may be a channel's.
    """
    have = Tombstones.read(out)
    salt, when = next((stone.salt for stone in have.stones), "") or new_salt(), tombstones.now()
    url = ""
    if request.source is not None:
        found, url = by_source(out, known, request.source)
    elif request.identity is not None:
        found = by_identity(out, request.identity)
    elif request.uploader is not None:
        found = by_uploader(known, request.uploader)
    else:
        return []
    stones = []
    if request.uploader is not None and have.find(None, {"uploader": request.uploader}) is None:
        name = keyed(salt, request.uploader)
        stones.append(Tombstone(request.kind, request.reason, when, uploader=name, salt=salt))
    if url and have.find(None, {"url": url}) is None:
        stones.append(Tombstone(request.kind, request.reason, when, url=keyed(salt, url), salt=salt))
    shared = {url for sha256, facts in known.items() if sha256 not in found for url in facts.urls}
    for sha256 in sorted(found - have.sources):
        urls = sorted(known[sha256].urls - {url} - shared) if sha256 in known else []
        hashed = keyed(salt, urls[0]) if urls else ""
        stones.append(Tombstone(request.kind, request.reason, when, source=sha256, url=hashed, salt=salt))
        stones += [Tombstone(request.kind, request.reason, when, url=keyed(salt, more), salt=salt) for more in urls[1:]]
    return stones


def _tars(out: Path) -> list[Path]:
    return sorted((out / "shards").glob("*.tar"))


def _not_searched(out: Path) -> list[Path]:
    return [out / tombstones.FILE, out / JOURNAL]


def _begin(out: Path, plan: Withdrawal, prefixes: frozenset[str]) -> dict[str, Any]:
    """Write the tombstones, then what to look for at the end, joined to what an unfinished withdrawal left."""
    tombstones.append(out, plan.stones)
    texts = {text for facts in plan.sources for text in facts.paths | facts.urls}
    traces = Traces(prefixes=prefixes, texts=frozenset(texts))
    for name in plan.shards:
        traces |= traces_of(out / "shards" / name, prefixes)
    journal = {"traces": traces.to_json(), "shards": sorted(plan.shards)}
    if (out / JOURNAL).is_file():
        old = json.loads((out / JOURNAL).read_bytes())
        journal["traces"] = (traces | Traces.from_json(old["traces"])).to_json()
        journal["shards"] = sorted({*plan.shards, *old["shards"]})
    write_whole(out / JOURNAL, json.dumps(journal).encode())
    return journal


def _remove_unfinished(out: Path) -> None:
    """Remove what a killed process left half-written anywhere; no other is at work now."""
    for path in list(files_under(out)):
        if UNFINISHED.fullmatch(path.name):
            path.unlink()


def _looked_for(out: Path, journal: dict[str, Any], prefixes: frozenset[str]) -> Traces:
    """The traces, less the paths and URLs that sources which stay have as well."""
    traces = Traces.from_json(journal["traces"])
    stay = {
        text
        for facts in known_sources(out).values()
        if facts.sha256[:PREFIX] not in prefixes
        for text in facts.paths | facts.urls
    }
    return Traces(traces.prefixes | prefixes, traces.texts - stay, traces.probes, traces.hashes)


def _clear(out: Path, plan: Withdrawal, prefixes: frozenset[str], journal: dict[str, Any], tell: Tell) -> None:
    work, traces = out / "work", _looked_for(out, journal, prefixes)
    changed: dict[str, ShardFacts] = {}
    for name in journal["shards"]:
        path = out / "shards" / name
        if path.exists():
            tell(f"rewriting {name}")
            changed[name] = rewrite(path, prefixes)
        else:
            changed[name] = ShardFacts("", 0, 0, 0)
        write_index(path, changed[name])
        forget_shard(work, name, prefixes, changed[name])
        plan.done.append(f"shards/{name}: {changed[name].samples} samples left")
    if update_dataset(out, changed):
        plan.done.append("dataset.json: brought up to date")
    tell("clearing the work folder, the manifest and everything else")
    units = forget_units(work, traces)
    if units:
        plan.done.append(f"work: {units} units removed")
    hashes = frozenset(facts.sha256 for facts in plan.sources) | Tombstones.read(out).sources
    lines = forget_in_plan(work, prefixes, hashes)
    if lines:
        plan.done.append(f"work/plan: {lines} lines and keys removed")
    for facts in plan.sources:
        for path in map(Path, facts.paths):
            if path.is_file() and path.absolute().is_relative_to(out):
                path.unlink()
                plan.done.append(f"{path.relative_to(out)}: removed")
    if (out / "manifest.parquet").is_file():
        rows = filter_table(out / "manifest.parquet", traces)
        if rows:
            plan.done.append(f"manifest.parquet: {rows} rows removed")
    skip = frozenset([*_not_searched(out), out / "dataset.json", out / "manifest.parquet", out / "config.yaml"])
    plan.done += forget_elsewhere(out, traces, skip)


def update_dataset(out: Path, changed: dict[str, ShardFacts]) -> bool:
    """Bring dataset.json up to date with shards that were changed in place. Returns whether anything changed."""
    path = out / "dataset.json"
    if not path.is_file() or not changed:
        return False
    dataset = json.loads(path.read_bytes())
    rows = []
    for row in dataset["shards"]:
        facts = changed.get(row["name"])
        if facts is None:
            rows.append(row)
        elif facts.samples:
            new = {name: getattr(facts, name) for name in ("sha256", "bytes", "samples", "frames")}
            rows.append({**row, **new})
    if rows == dataset["shards"]:
        return False
    dataset["shards"] = rows
    dataset["hash"] = digest([[row["name"], row["sha256"]] for row in rows])
    for name in ("samples", "frames", "bytes"):
        dataset[name] = sum(row[name] for row in rows)
    write_whole(path, (json.dumps(dataset, indent=1) + "\n").encode())
    return True


def originals(sources: Iterable[SourceFacts], out: Path) -> list[str]:
    """Files of the withdrawn sources that lie outside `out`: not ours to remove, but somebody has to."""
    paths = {Path(path) for facts in sources for path in facts.paths}
    return sorted(str(path) for path in paths if path.is_file() and not path.absolute().is_relative_to(out.absolute()))
