"""Files that are either whole or absent, whenever the process dies."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av.error


class DiskFull(RuntimeError):
    """No room is left on a device that the job writes to. Nothing half-written was committed."""

    def __str__(self) -> str:
        return (
            f"no space left while writing {self.args[0]}. Everything finished so far is committed: free some room (or "
            "choose another OUT on a larger disk) and run the same command again to continue."
        )


@contextmanager
def disk_full_as_such(path: Path | str) -> Iterator[None]:
    """Turn ENOSPC and EDQUOT from anything inside into `DiskFull`, be it Python's or FFmpeg's error."""
    try:
        yield
    except (OSError, av.error.FFmpegError) as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(str(path)) from error
        raise


def fsync_path(path: Path) -> None:
    """Flush a file or a folder to the device."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it is flushed and takes the name `path`, else it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp.{uuid.uuid4().hex[:12]}")
    try:
        with disk_full_as_such(path):
            yield temporary
            fsync_path(temporary)
            os.replace(temporary, path)
            fsync_path(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> int:
    """Remove what `whole_file` left in `folder` when its process was killed. Returns how many files went."""
    left = list(folder.glob(".*.tmp.*"))
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` to `path`, replacing what was there, in one step."""
    with whole_file(path) as temporary:
        temporary.write_bytes(data)


def create_once(path: Path, data: bytes) -> bool:
    """Write `data` to `path` only if nothing is there yet. The first writer wins; returns whether it was this one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp.{uuid.uuid4().hex[:12]}")
    try:
        with disk_full_as_such(path):
            temporary.write_bytes(data)
            fsync_path(temporary)
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
            fsync_path(path.parent)
            return True
    finally:
        temporary.unlink(missing_ok=True)


def canonical_json(value: Any) -> bytes:
    """One byte string for one value: sorted keys, no spaces, UTF-8. NaN is refused, since JSON has none."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(value: Any) -> str:
    """sha256 (hex) of a JSON-able value."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def file_digest(path: Path, on_chunk: Callable[[bytes], None] | None = None) -> str:
    """sha256 (hex) of a file's content, read in pieces."""
    total = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            total.update(chunk)
            if on_chunk:
                on_chunk(chunk)
    return total.hexdigest()
