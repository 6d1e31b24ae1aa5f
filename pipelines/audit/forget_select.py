"""Who and what a withdrawal means: from a path, a hash, a URL, a person or an uploader to sources."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from pipelines.audit.schema import CLIPS, audit_folder
from pipelines.audit.tombstones import UNKNOWN, Tombstones
from pipelines.ingest.content_hash import content_hash
from pipelines.ingest.provenance import clean_url
from pipelines.job.plan import Plan


class NotFound(LookupError):
    """Nothing in the dataset answers to what was asked for."""


@dataclass
class SourceFacts:
    """A source as the plan and the manifest know it. paths: also those of copies with the same content."""

    sha256: str
    paths: set[str] = field(default_factory=set)
    urls: set[str] = field(default_factory=set)
    uploaders: set[str] = field(default_factory=set)

    def covered(self, stones: Tombstones) -> bool:
        pairs = [{"url": url} for url in self.urls] + [{"uploader": name} for name in self.uploaders] or [{}]
        return any(stones.find(self.sha256, pair) is not None for pair in pairs)


def known_sources(out: Path) -> dict[str, SourceFacts]:
    """Every source of the dataset by the sha256 of its content, from the plan and the manifest."""
    known: dict[str, SourceFacts] = {}

    def add(sha256: str | None, path: str | None, url: str | None, uploader: str | None) -> None:
        if not sha256:
            return
        facts = known.setdefault(sha256, SourceFacts(sha256))
        for values, value in ((facts.paths, path), (facts.urls, url), (facts.uploaders, uploader)):
            if value and value != UNKNOWN:
                values.add(value)

    for row in Plan(out / "work").all_sources():
        add(row.sha256, row.path, row.provenance.get("url"), row.provenance.get("uploader"))
    manifest = out / "manifest.parquet"
    if manifest.is_file():
        query = "select distinct source_sha256, source_path, url, uploader from read_parquet(?)"
        for values in duckdb.execute(query, [str(manifest)]).fetchall():
            add(*values)
    return known


def by_source(out: Path, known: dict[str, SourceFacts], what: str) -> tuple[set[str], str]:
    """(content hashes, URL) that a path, a hash (8 digits or more), a sample key or a URL stands for.

    A video that the dataset has never seen may be named too: it is then refused when it comes. Raises `NotFound`.
    """
    url = clean_url(what)
    if url:
        return _where(known, lambda facts: url in facts.urls or what in facts.paths), url
    digits = what.partition("_")[0]
    if re.fullmatch(r"[0-9a-f]{8,64}", digits):
        found = _where(known, lambda facts: facts.sha256.startswith(digits))
        if len({sha[:16] for sha in found}) > 1:
            raise NotFound(f"{what} begins the hashes of {len(found)} sources: give more digits")
        if found or len(digits) == 64:
            return found or {digits}, ""
    path = os.path.abspath(what)
    found = _where(known, lambda facts: path in facts.paths or what in facts.paths)
    if not found:
        found = _where(known, lambda facts: any(Path(each).name == what for each in facts.paths))
        if len(found) > 1:
            raise NotFound(f"{len(found)} sources are called {what}: give the whole path of one")
    if not found and os.path.isfile(path):
        found = {content_hash(path)}
    if not found:
        raise NotFound(f"no source is called {what!r}: give its path, its sha256, its URL or the key of a sample")
    return found, ""


def by_uploader(known: dict[str, SourceFacts], name: str) -> set[str]:
    """Content hashes of everything of one uploader; none is fine, since more may come later."""
    wanted = name.strip().casefold()
    if not wanted or wanted == UNKNOWN:
        raise NotFound("give the name of an uploader; sources of unknown uploaders are withdrawn with --source")
    return _where(known, lambda facts: any(each.strip().casefold() == wanted for each in facts.uploaders))


def by_identity(out: Path, what: str) -> set[str]:
    """Content hashes of every source in which a person was found: `what` is a number of identities.parquet or a key.

    Raises `NotFound`, also when there has been no audit, which is what finds people again.
    """
    clips = audit_folder(out) / CLIPS
    if not clips.is_file():
        raise NotFound(f"{clips} is not there: `vividpose audit {out}` tells people apart; or give --source")
    number: int | None = int(what) if what.isdigit() and len(what) < 12 else None
    if number is None:
        row = duckdb.execute("select identity from read_parquet(?) where key = ?", [str(clips), what]).fetchone()
        if row is None:
            raise NotFound(f"no clip has the key {what!r}")
        if row[0] is None:
            raise NotFound(
                f"clip {what} belongs to no identity: its face was not recognised, or the dataset has no face vectors. "
                f"Give --source {what} for the source that it is from"
            )
        number = int(row[0])
    query = "select distinct source_sha256 from read_parquet(?) where identity = ? and source_sha256 is not null"
    found = {str(sha) for (sha,) in duckdb.execute(query, [str(clips), number]).fetchall()}
    if not found:
        raise NotFound(f"no clip is of identity {number}")
    return found


def _where(known: dict[str, SourceFacts], test: Callable[[SourceFacts], bool]) -> set[str]:
    return {facts.sha256 for facts in known.values() if test(facts)}


def closure(known: Iterable[SourceFacts], stones: Tombstones) -> set[str]:
    """Content hashes of all that the withdrawals cover: also other files with the same URL or of the same uploader."""
    return {facts.sha256 for facts in known if facts.covered(stones)}
