"""From what the user named to planned sources: find them, identify their content, read their provenance."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from fsspec.core import url_to_fs

from pipelines.audit.tombstones import WITHDRAWN, Tombstones
from pipelines.engine.atomic import digest
from pipelines.engine.scratch import scratch_file
from pipelines.engine.storage import Store, is_object_url, open_store
from pipelines.ingest.content_hash import HashCache
from pipelines.ingest.provenance import read_provenance
from pipelines.ingest.sources import Source, find_sources, is_url
from pipelines.job.plan import SourcePlan
from pipelines.job.progress import Progress

HASH_THREADS = 8
HASHES = "work/hashes.jsonl"


class NoSources(RuntimeError):
    """What the user named does not exist or holds no video."""


def take_in(src: str, out: Path | str, progress: Progress) -> list[SourcePlan]:
    """Every source behind `src`, identified. Raises `NoSources` when there is none at all.

    What lies in the output folder `out` is the job's own work and no source, unless `src` itself lies there. A source
    that was withdrawn from the dataset is named with that reason, and nothing else is written down of it.
    """
    try:
        found = find_sources(src)
    except (FileNotFoundError, ValueError) as error:
        raise NoSources(str(error)) from error
    found = _without_own(src, out, found)
    if len(found) == 1 and found[0].reason is not None and found[0].location == src:
        raise NoSources(found[0].message)
    if not found:
        raise NoSources(f"{src}: no video files in it")
    withdrawn = Tombstones.read(out)
    with (
        _hash_cache(open_store(out)) as hashes,
        ThreadPoolExecutor(HASH_THREADS) as threads,
        progress.phase("find", len(found)) as advance,
    ):
        planned = []
        for row in threads.map(lambda source: _plan(source, hashes, withdrawn), found):
            advance({"label": row.name})
            planned.append(row)
    return planned


def _without_own(src: str, out: Path | str, found: list[Source]) -> list[Source]:
    """Leave out what lies in the output place, unless `src` lies there."""
    if is_object_url(out):
        below = f"{str(out).rstrip('/')}/"
        return found if src.startswith(below) else [row for row in found if not row.location.startswith(below)]
    if is_url(src) or not _inside(src, Path(out)):
        return [source for source in found if source.remote or not _inside(source.location, Path(out))]
    return found


@contextmanager
def _hash_cache(out: Store) -> Iterator[HashCache]:
    """The hashes remembered in the work folder. In an object store the file is fetched before and put back after."""
    here = out.local(HASHES)
    if here is not None:
        with HashCache(here) as hashes:
            yield hashes
        return
    with scratch_file(HASHES) as copy:
        known = out.size(HASHES)
        if known is not None:
            out.fetch(HASHES, copy)
        with HashCache(copy) as hashes:
            yield hashes
        if copy.stat().st_size != (known or 0):
            out.put(HASHES, copy)


def _inside(path: str | Path, folder: Path) -> bool:
    return Path(os.path.abspath(path)).is_relative_to(folder.absolute())


def _plan(source: Source, hashes: HashCache, withdrawn: Tombstones) -> SourcePlan:
    if source.reason is not None:
        problem = {"reason": source.reason, "message": source.message}
        return SourcePlan(source.location, source.name, None, 0, _provenance(source), problem)
    try:
        identity, size = _identify(source, hashes)
    except OSError as error:
        problem = {"reason": "unreadable", "message": f"{source.location}: {error.strerror or error}"}
        return SourcePlan(source.location, source.name, None, 0, _provenance(source), problem)
    provenance = _provenance(source)
    stone = withdrawn.find(identity, provenance)
    if stone is not None:
        problem = {"state": "dropped", "reason": WITHDRAWN, "message": f"{stone.reason} ({stone.when})"}
        return SourcePlan(source.location, source.name, None, 0, {}, problem)
    return SourcePlan(source.location, source.name, identity, size, provenance)


def _identify(source: Source, hashes: HashCache) -> tuple[str, int]:
    """(64 hex digits that stand for the content, bytes). A local file is read; a remote one is not downloaded for it:
    its URL and what the store tells of its version (size, time, entity tag) stand for the content."""
    if not source.remote:
        return hashes(source.location), Path(source.location).stat().st_size
    system, path = url_to_fs(source.location)
    return digest([source.location, system.ukey(path)]), int(system.info(path).get("size") or 0)


def _provenance(source: Source) -> dict:
    """As it comes back from the plan, where a tuple has become a list: equal provenance must look equal."""
    return json.loads(json.dumps(asdict(read_provenance(source))))

