"""What was withdrawn and must not come back: `OUT/tombstones.jsonl`, a line per withdrawn source or uploader.

A line holds no more about a person than is needed to know the material again: the sha256 of the source's content, and
keyed hashes of its URL and of its uploader. The key is random and lies in the same line, so that lines of several
datasets can be put into one file, and so that equal uploaders of two datasets do not have equal hashes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.engine.atomic import write_whole
from pipelines.engine.storage import join, open_store

FILE = "tombstones.jsonl"
WITHDRAWN = "withdrawn"
UNKNOWN = "unknown"


class BadTombstones(ValueError):
    """The tombstone file cannot be read. Nothing may be taken in while it is not known what was withdrawn."""


@dataclass(frozen=True)
class Tombstone:
    """One withdrawal. Any of `source`, `url` and `uploader` that is not empty brings a source under it.

    source: sha256 (hex) of the content. url, uploader: HMAC-SHA256 (hex) under `salt` of the cleaned, lower-case text.
    kind: what the withdrawal was asked for: source, identity or uploader. when: UTC, ISO 8601.
    """

    kind: str
    reason: str
    when: str
    source: str = ""
    url: str = ""
    uploader: str = ""
    salt: str = ""

    def covers(self, sha256: str | None, provenance: Mapping[str, Any]) -> bool:
        """Whether a source with this content and provenance is withdrawn."""
        if sha256 and sha256 == self.source:
            return True
        return any(
            kept and hmac.compare_digest(kept, keyed(self.salt, provenance.get(name)))
            for name, kept in (("url", self.url), ("uploader", self.uploader))
        )


def keyed(salt: str, text: object) -> str:
    """The keyed hash of a name or URL, "" for what nobody said. Case and outer blanks do not count."""
    plain = str(text or "").strip().casefold()
    if not plain or plain == UNKNOWN:
        return ""
    return hmac.new(bytes.fromhex(salt), plain.encode(), hashlib.sha256).hexdigest()


class Tombstones:
    """The withdrawals of one dataset, as read from its folder."""

    def __init__(self, stones: Iterable[Tombstone] = ()) -> None:
        self.stones = list(stones)
        self._sources = {stone.source: stone for stone in self.stones if stone.source}
        self._keyed = [stone for stone in self.stones if stone.url or stone.uploader]

    @classmethod
    def read(cls, out: Path | str) -> Tombstones:
        """Those of the output folder or URL `out`; none where there is no file. Raises `BadTombstones`.

        A last line that a killed process left torn counts as absent: nothing was removed for it yet.
        """
        path = join(out, FILE)
        try:
            lines = open_store(out).get(FILE).decode("utf-8", "replace").split("\n")
        except FileNotFoundError:
            return cls()
        stones = []
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                stones.append(_parse(line))
            except (ValueError, TypeError) as error:
                if number == len(lines):
                    continue
                raise BadTombstones(
                    f"{path}, line {number} is not a tombstone ({error}): put the line right, or restore the file; "
                    "without it a withdrawn person could come back"
                ) from error
        return cls(stones)

    def find(self, sha256: str | None, provenance: Mapping[str, Any]) -> Tombstone | None:
        """The withdrawal that a source falls under, if any."""
        if sha256 and sha256 in self._sources:
            return self._sources[sha256]
        return next((stone for stone in self._keyed if stone.covers(sha256, provenance)), None)

    @property
    def sources(self) -> set[str]:
        """sha256 of every withdrawn content."""
        return set(self._sources)

    def __len__(self) -> int:
        return len(self.stones)


def _parse(line: str) -> Tombstone:
    stone = Tombstone(**json.loads(line))
    if not all(isinstance(value, str) for value in asdict(stone).values()):
        raise TypeError("every value must be text")
    bytes.fromhex(stone.salt)
    return stone


def new_salt() -> str:
    return secrets.token_hex(16)


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def append(out: Path, stones: Iterable[Tombstone]) -> None:
    """Add lines to the file, which is whole at every moment. A torn last line goes."""
    path = out / FILE
    old = path.read_bytes() if path.exists() else b""
    lines = "".join(json.dumps(asdict(stone), sort_keys=True) + "\n" for stone in stones).encode()
    if lines:
        write_whole(path, old[: old.rfind(b"\n") + 1] + lines)
