"""A folder as a store: hard links and renames, every write flushed to the device."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from pipelines.engine.atomic import create_once, whole_file, write_whole
from pipelines.engine.storage import Entry


@dataclass(frozen=True)
class PosixStore:
    """The folder `root`; it must allow hard links."""

    root: Path

    @property
    def url(self) -> str:
        return str(self.root)

    def put_new(self, key: str, data: bytes) -> bool:
        return create_once(self.root / key, data)

    def put(self, key: str, data: bytes | Path) -> None:
        if isinstance(data, bytes):
            write_whole(self.root / key, data)
        else:
            with self.writing(key) as temporary:
                shutil.copyfile(data, temporary)

    def writing(self, key: str) -> AbstractContextManager[Path]:
        return whole_file(self.root / key)

    def get(self, key: str) -> bytes:
        return (self.root / key).read_bytes()

    def read_range(self, key: str, start: int, length: int) -> bytes:
        return self.read_ranges(key, [(start, length)])[0]

    def read_ranges(self, key: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        with (self.root / key).open("rb") as stream:
            return [os.pread(stream.fileno(), length, start) for start, length in spans]

    def fetch(self, key: str, path: Path) -> None:
        with whole_file(path) as temporary:
            shutil.copyfile(self.root / key, temporary)

    def size(self, key: str) -> int | None:
        try:
            return (self.root / key).stat().st_size
        except FileNotFoundError:
            return None

    def list_prefix(self, prefix: str) -> Iterator[Entry]:
        for folder, _, names in os.walk(self.root / prefix):
            for name in names:
                path = Path(folder, name)
                if name.startswith(".") and ".tmp." in name:
                    continue
                try:
                    facts = path.stat()
                except FileNotFoundError:  # removed since the folder was read
                    continue
                key = path.relative_to(self.root).as_posix()
                yield Entry(key, facts.st_size, f"{facts.st_size}-{facts.st_mtime_ns}")

    def delete(self, key: str) -> None:
        (self.root / key).unlink(missing_ok=True)

    def delete_prefix(self, prefix: str) -> None:
        shutil.rmtree(self.root / prefix, ignore_errors=True)

    def local(self, key: str) -> Path | None:
        return self.root / key
