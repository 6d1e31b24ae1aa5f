"""The sha256 of files, remembered by size and time of change so that a second run reads nothing."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Self


def content_hash(path: Path | str) -> str:
    """sha256 of a file's bytes, in hex; reads it once in small pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _valid(row: object) -> tuple[str, tuple[int, int, str]] | None:
    match row:
        case {"path": str(path), "size": int(size), "mtime_ns": int(mtime), "sha256": str(digest)} if len(digest) == 64:
            return path, (size, mtime, digest)
    return None


class HashCache:
    """(path, size, mtime_ns) -> sha256, kept as JSON lines that are only ever appended to.

    A line that is torn or of another shape counts as absent, and the last line for a path wins; several processes may
    append at once, since each line is one write. A file that changes without changing its size or time of change is not
    noticed: pass `trust=False` to hash everything anew.
    """

    def __init__(self, path: Path | str, *, trust: bool = True) -> None:
        self.path = Path(path)
        self._known: dict[str, tuple[int, int, str]] = {}
        self.ignored_lines = 0
        if trust:
            self._load()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._end_torn_line()

    def _load(self) -> None:
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        for line in lines:
            if not line.strip():
                continue
            try:
                entry = _valid(json.loads(line))
            except (ValueError, RecursionError):
                entry = None
            if entry is None:
                self.ignored_lines += 1
            else:
                self._known[entry[0]] = entry[1]

    def _end_torn_line(self) -> None:
        """A killed process may have left half a line; what follows must not be glued to it."""
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")

    def __call__(self, path: Path | str) -> str:
        """The sha256 of a local file. Raises OSError when it cannot be read."""
        key = os.path.abspath(path)
        before = os.stat(key)
        size, mtime, digest = self._known.get(key, (-1, -1, ""))
        if (size, mtime) == (before.st_size, before.st_mtime_ns):
            return digest
        digest = content_hash(key)
        after = os.stat(key)
        if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
            self._remember(key, after.st_size, after.st_mtime_ns, digest)
        return digest

    def _remember(self, key: str, size: int, mtime: int, digest: str) -> None:
        self._known[key] = (size, mtime, digest)
        row = {"path": key, "size": size, "mtime_ns": mtime, "sha256": digest}
        os.write(self._file, json.dumps(row).encode("ascii") + b"\n")

    def close(self) -> None:
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
