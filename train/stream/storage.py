"""Bytes of a dataset's files, by range: from a local folder, from object storage, or from local copies of its
shards."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from pipelines.engine.atomic import digest, whole_file
from pipelines.engine.storage import Store, open_store
from pipelines.shard_format import BadSample

STREAM_BYTES = 1 << 16


class Storage(Protocol):
    """Where a dataset lies. Names are relative to its folder, with slashes."""

    place: str

    def read(self, name: str) -> bytes:
        """A whole file; FileNotFoundError where there is none."""
        ...

    def ranges(self, name: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of each (offset, length). `BadSample` where the file is shorter."""
        ...

    def sizes(self, folder: str) -> dict[str, int]:
        """Size in bytes of every file directly in a folder, by file name; empty where there is no folder."""
        ...

    def stream(self, name: str) -> IO[bytes]:
        """A file to read and to seek in; FileNotFoundError where there is none."""
        ...


def _whole(name: str, spans: Sequence[tuple[int, int]], pieces: Sequence[bytes]) -> list[bytes]:
    for (offset, length), piece in zip(spans, pieces, strict=True):
        if len(piece) != length:
            raise BadSample(f"{name} ends at byte {offset + len(piece)}, before byte {offset + length}: it was cut off")
    return list(pieces)


class LocalStorage:
    """A folder on this machine. Keeps its most recently used files open; one object per process."""

    def __init__(self, folder: Path, open_files: int = 64) -> None:
        self.folder, self.open_files = folder, open_files
        self.place = str(folder)
        self._open: OrderedDict[str, int] = OrderedDict()

    def __getstate__(self) -> tuple[Path, int]:
        return self.folder, self.open_files

    def __setstate__(self, state: tuple[Path, int]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def ranges(self, name: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        descriptor = self._descriptor(name)
        return _whole(f"{self.folder / name}", spans, [os.pread(descriptor, length, at) for at, length in spans])

    def sizes(self, folder: str) -> dict[str, int]:
        try:
            with os.scandir(self.folder / folder) as entries:
                return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
        except FileNotFoundError:
            return {}

    def stream(self, name: str) -> IO[bytes]:
        return (self.folder / name).open("rb")

    def _descriptor(self, name: str) -> int:
        if name in self._open:
            self._open.move_to_end(name)
            return self._open[name]
        descriptor = os.open(self.folder / name, os.O_RDONLY)
        self._open[name] = descriptor
        if len(self._open) > self.open_files:
            os.close(self._open.popitem(last=False)[1])
        return descriptor

    def close(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])

    def __del__(self) -> None:
        self.close()


class RemoteStorage:
    """A prefix of an object store. What fails on the way is tried again there for some minutes; then `StorageError`."""

    def __init__(self, url: str) -> None:
        self.place = url.rstrip("/")
        self.store = open_store(url)

    def read(self, name: str) -> bytes:
        return self.store.get(name)

    def ranges(self, name: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        return _whole(f"{self.place}/{name}", spans, self.store.read_ranges(name, spans))

    def sizes(self, folder: str) -> dict[str, int]:
        rows = [(entry.key.removeprefix(f"{folder}/"), entry.size) for entry in self.store.list_prefix(folder)]
        return {name: size for name, size in rows if "/" not in name}

    def stream(self, name: str) -> IO[bytes]:
        return io.BufferedReader(_Ranges(self.store, name), STREAM_BYTES)

    def download(self, name: str, target: Path) -> None:
        self.store.fetch(name, target)


class _Ranges(io.RawIOBase):
    """A key as a file that can be read and sought in."""

    def __init__(self, store: Store, key: str) -> None:
        size = store.size(key)
        if size is None:
            raise FileNotFoundError(f"{store.url}/{key}")
        self.store, self.key, self.size, self.at = store, key, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.size}[whence]
        return self.at

    def readinto(self, buffer: Any) -> int:
        data = self.store.read_range(self.key, self.at, max(0, min(len(buffer), self.size - self.at)))
        buffer[: len(data)] = data
        self.at += len(data)
        return len(data)


class CachedStorage:
    """Remote storage whose shards are copied whole into a local folder when they are first touched.

    Several processes may share the folder: a copy is made by one of them under a lock and appears whole. The least
    recently used copies are removed when the folder grows past `limit` bytes; a reader that has one open keeps it.
    """

    def __init__(self, remote: RemoteStorage, folder: Path, limit: int, sha256: Mapping[str, str]) -> None:
        """sha256: of the files that are to be copied, by name; others are read by range."""
        self.remote, self.limit, self.sha256 = remote, limit, sha256
        self.place = remote.place
        self.folder = folder / digest(remote.place)[:16]
        # Few: a copy that is open keeps its place on the disk after it was removed.
        self.local = LocalStorage(self.folder, open_files=8)

    def read(self, name: str) -> bytes:
        return self.remote.read(name)

    def sizes(self, folder: str) -> dict[str, int]:
        return self.remote.sizes(folder)

    def stream(self, name: str) -> IO[bytes]:
        return self.remote.stream(name)

    def ranges(self, name: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        if name not in self.sha256:
            return self.remote.ranges(name, spans)
        while True:
            copy = self._copy(name)
            try:
                os.utime(copy)
                return self.local.ranges(copy.name, spans)
            except FileNotFoundError:
                continue  # another process made room between our look and our open

    def _copy(self, name: str) -> Path:
        # Named by content: a dataset that was made again at the same address does not meet its old copies.
        copy = self.folder / f"{self.sha256[name]}.tar"
        if copy.exists():
            return copy
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{self.sha256[name]}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if copy.exists():
                return copy
            remove_unfinished_copy(copy)
            with whole_file(copy) as temporary:
                self.remote.download(name, temporary)
                with temporary.open("rb") as stream:
                    found = hashlib.file_digest(stream, "sha256").hexdigest()
                if found != self.sha256[name]:
                    raise BadSample(f"{self.place}/{name} has sha256 {found}, dataset.json says {self.sha256[name]}")
            self._make_room(copy)
        return copy

    def _make_room(self, newest: Path) -> None:
        copies = []
        for path in self.folder.parent.glob("*/*.tar"):
            try:
                state = path.stat()
            except FileNotFoundError:
                continue
            copies.append((state.st_mtime, state.st_size, path))
        total = sum(size for _, size, _ in copies)
        for _, size, path in sorted(copies):
            if total <= self.limit:
                return
            if path != newest:
                path.unlink(missing_ok=True)
                total -= size


def remove_unfinished_copy(copy: Path) -> None:
    """Remove what a killed process left of this copy. Only for the holder of its lock."""
    for path in copy.parent.glob(f".*{copy.name}.tmp.*"):
        path.unlink(missing_ok=True)


def open_storage(place: str) -> LocalStorage | RemoteStorage:
    """A folder, or an object-store URL. `file://` URLs are folders. Raises `StorageError` for URLs of another kind."""
    if "://" not in place:
        return LocalStorage(Path(place).expanduser().absolute())
    if place.startswith("file://"):
        return LocalStorage(Path(place.removeprefix("file://")))
    return RemoteStorage(place)
