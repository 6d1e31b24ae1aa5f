"""From what the user named to planned sources: find them, identify their content, read their provenance."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from fsspec.core import url_to_fs

from pipelines.engine.atomic import digest
from pipelines.ingest.content_hash import HashCache
from pipelines.ingest.provenance import read_provenance
from pipelines.ingest.sources import Source, find_sources, is_url
from pipelines.job.plan import SourcePlan
from pipelines.job.progress import Progress

HASH_THREADS = 8


class NoSources(RuntimeError):
    """What the user named does not exist or holds no video."""


def take_in(src: str, out: Path, progress: Progress) -> list[SourcePlan]:
    """Every source behind `src`, identified. Raises `NoSources` when there is none at all.

    What lies in the output folder `out` is the job's own work and no source, unless `src` itself lies there.
    """
    try:
        found = find_sources(src)
    except (FileNotFoundError, ValueError) as error:
        raise NoSources(str(error)) from error
    if is_url(src) or not _inside(src, out):
        found = [source for source in found if source.remote or not _inside(source.location, out)]
    if len(found) == 1 and found[0].reason is not None and found[0].location == src:
        raise NoSources(found[0].message)
    if not found:
        raise NoSources(f"{src}: no video files in it")
    with (
        HashCache(out / "work" / "hashes.jsonl") as hashes,
        ThreadPoolExecutor(HASH_THREADS) as threads,
        progress.phase("find", len(found)) as advance,
    ):
        planned = []
        for row in threads.map(lambda source: _plan(source, hashes), found):
            advance({"label": row.name})
            planned.append(row)
    return planned


def _inside(path: str | Path, folder: Path) -> bool:
    return Path(os.path.abspath(path)).is_relative_to(folder.absolute())


def _plan(source: Source, hashes: HashCache) -> SourcePlan:
    if source.reason is not None:
        problem = {"reason": source.reason, "message": source.message}
        return SourcePlan(source.location, source.name, None, 0, _provenance(source), problem)
    try:
        identity, size = _identify(source, hashes)
    except OSError as error:
        problem = {"reason": "unreadable", "message": f"{source.location}: {error.strerror or error}"}
        return SourcePlan(source.location, source.name, None, 0, _provenance(source), problem)
    return SourcePlan(source.location, source.name, identity, size, _provenance(source))


def _identify(source: Source, hashes: HashCache) -> tuple[str, int]:
    """(64 hex digits that stand for the content, bytes). A local file is read; a remote one is not downloaded for it:
    its URL and what the store tells of its version (size, time, entity tag) stand for the content."""
    if not source.remote:
        return hashes(source.location), Path(source.location).stat().st_size
    system, path = url_to_fs(source.location)
    return digest([source.location, system.ukey(path)]), int(system.info(path).get("size") or 0)


def _provenance(source: Source) -> dict:
    return asdict(read_provenance(source))

