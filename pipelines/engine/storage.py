"""One small protocol for the places that hold a dataset: a folder, or a prefix of an object store.

    store = open_store("s3://bucket/dataset")      # or open_store("/data/dataset"), or memory://name in tests
    store.put_new("work/plan/000000.jsonl", b"...")

Keys are relative, with `/`. Nothing is ever seen half-written under its key. Nobody renames: a thing that is made of
several objects is put object by object under names of its own, and then counts by one small record, which `put_new`
creates once. Credentials come from the environment and from nowhere else; `AWS_ENDPOINT_URL` names another S3 server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipelines.engine.setup_error import SetupError

URL = re.compile(r"^(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://")
OBJECT_SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "memory")


class StorageError(SetupError):
    """A place cannot be reached, or refuses: no such bucket, wrong credentials, or down for longer than the retries."""


@dataclass(frozen=True)
class Entry:
    """What a listing tells of a key. version: changes whenever the content does (size and time, or entity tag)."""

    key: str
    size: int
    version: str


class Store(Protocol):
    """A place that holds a dataset. Methods raise `StorageError` when the place fails for good.

    Implementations can be pickled and used from many threads and processes at once.
    """

    @property
    def url(self) -> str:
        """What `open_store` takes to open the same place again; an absolute path for a folder."""
        ...

    def put_new(self, key: str, data: bytes) -> bool:
        """Create `key` only if nothing is there: the first of many writers wins. Returns whether it was this one.

        On an object store, where an answer can get lost, equal data of another writer counts as one's own.
        """
        ...

    def put(self, key: str, data: bytes | Path) -> None:
        """Put bytes, or a local file in several parts at once, replacing what was there in one step."""
        ...

    def writing(self, key: str) -> AbstractContextManager[Path]:
        """Give a local path to write; when the block ends well its content is put under `key`, else it is gone."""
        ...

    def get(self, key: str) -> bytes:
        """The whole content. Raises FileNotFoundError."""
        ...

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """`length` bytes from `start`, fewer at the end. Raises FileNotFoundError."""
        ...

    def read_ranges(self, key: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of each (start, length), fewer at the end, asked for at once. Raises FileNotFoundError."""
        ...

    def fetch(self, key: str, path: Path) -> None:
        """Copy to a local file, which is written whole or not at all. Raises FileNotFoundError."""
        ...

    def size(self, key: str) -> int | None:
        """Bytes, or None when there is no such key."""
        ...

    def list_prefix(self, prefix: str) -> Iterator[Entry]:
        """Every key below the folder `prefix` (to any depth), in no order. Unfinished writes are left out."""
        ...

    def delete(self, key: str) -> None:
        """Remove a key; one that is not there is fine."""
        ...

    def delete_prefix(self, prefix: str) -> None:
        """Remove everything below the folder `prefix`."""
        ...

    def local(self, key: str) -> Path | None:
        """The path of `key` where the place is a folder of this machine, else None."""
        ...


def is_object_url(place: str | Path) -> bool:
    """Whether `place` names an object store, as `s3://bucket/x` does."""
    match = URL.match(str(place))
    return match is not None and match["scheme"].lower() in OBJECT_SCHEMES


def join(place: str | Path, name: str) -> str | Path:
    """`name` below a folder or below a URL."""
    return f"{str(place).rstrip('/')}/{name}" if is_object_url(place) else Path(place) / name


def parent(place: str | Path) -> str | Path:
    """The folder or URL above."""
    return str(place).rstrip("/").rpartition("/")[0] if is_object_url(place) else Path(place).parent


def open_store(place: str | Path) -> Store:
    """The store at a folder, a `file://` URL or an object-store URL. Nothing is asked or made yet.

    Raises `StorageError` for a URL of another kind.
    """
    from pipelines.engine.storage_posix import PosixStore

    text = str(place)
    if is_object_url(text):
        from pipelines.engine.storage_object import ObjectStore

        return ObjectStore(text)
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    elif (match := URL.match(text)) is not None:
        known = ", ".join(f"{scheme}://" for scheme in OBJECT_SCHEMES)
        raise StorageError(f"{text}: {match['scheme']}:// is no place for a dataset; use a folder or one of {known}")
    return PosixStore(Path(text).absolute())
