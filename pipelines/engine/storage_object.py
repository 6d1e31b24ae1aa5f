"""A prefix of an object store (S3 and servers that speak it, Google, Azure, memory), through `obstore`.

`obstore` signs, retries with growing pauses what failed on the way (5xx, throttling, dropped connections) and uploads
in parts; a key becomes visible when its last part is in. What is added here: one clear line when it fails for good,
and the answer to a conditional put whose first answer was lost.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from pipelines.engine.atomic import whole_file
from pipelines.engine.scratch import scratch_file
from pipelines.engine.storage import Entry, StorageError

Answer = TypeVar("Answer")
# S3 takes at most 10,000 parts of at least 5 MiB.
PART_BYTES = 8 << 20
MAX_PARTS = 9000
# Ranges that lie closer are read by one request.
GAP_BYTES = 1 << 20
# Whole requests tried again here, beyond the ten tries that obstore gives to what it holds safe to repeat.
ROUNDS = 4
RETRIES: Any = {
    "max_retries": 10,
    "retry_timeout": timedelta(minutes=3),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=10), "base": 2},
}
_memories: dict[str, Any] = {}


class ObjectStore:
    """The keys below `url`."""

    def __init__(self, url: str) -> None:
        try:
            import obstore
        except ImportError:
            raise StorageError(f"{url}: needs the package obstore: pip install 'vividpose[s3]'") from None
        self.url = url.rstrip("/")
        self._obstore = obstore
        self._prefix = ""
        if self.url.startswith("memory://"):
            name, _, below = self.url.removeprefix("memory://").partition("/")
            self._store = _memories.setdefault(name, obstore.store.MemoryStore())
            self._prefix = f"{below}/" if below else ""
            return
        try:
            # Plain http is only used where AWS_ENDPOINT_URL asks for it.
            options: Any = {"allow_http": True, "connect_timeout": "10s", "timeout": "300s"}
            self._store = obstore.store.from_url(self.url, client_options=options, retry_config=RETRIES)
        except (obstore.exceptions.BaseError, ValueError) as error:
            raise StorageError(f"{self.url}: {_first_line(error)}") from error

    def __reduce__(self) -> tuple[type[ObjectStore], tuple[str]]:
        return ObjectStore, (self.url,)

    def put_new(self, key: str, data: bytes) -> bool:
        raised = self._obstore.exceptions

        def create() -> bool:
            try:
                self._obstore.put(self._store, self._prefix + key, data, mode="create")
            except (raised.AlreadyExistsError, raised.PreconditionError):
                # A put that was repeated after its answer got lost finds itself.
                return self.get(key) == data
            return True

        return self._call(key, create)

    def put_if(self, key: str, data: bytes, version: str) -> str | None:
        """Replace `key` only while its version is `version`. Returns the new version, or None when it was another."""
        raised = self._obstore.exceptions

        def replace() -> str | None:
            try:
                return self._obstore.put(self._store, self._prefix + key, data, mode={"e_tag": version})["e_tag"]
            except (raised.PreconditionError, raised.AlreadyExistsError):
                return self.version(key) if self.get(key) == data else None

        try:
            return self._call(key, replace)
        except FileNotFoundError:
            return None

    def version(self, key: str) -> str | None:
        """The entity tag of a key, None when it is not there."""
        try:
            return self._call(key, lambda: self._obstore.head(self._store, self._prefix + key))["e_tag"]
        except FileNotFoundError:
            return None

    def put(self, key: str, data: bytes | Path) -> None:
        size = len(data) if isinstance(data, bytes) else data.stat().st_size
        part = max(PART_BYTES, -(-size // MAX_PARTS))
        self._call(key, lambda: self._obstore.put(self._store, self._prefix + key, data, chunk_size=part))

    @contextmanager
    def writing(self, key: str) -> Iterator[Path]:
        with scratch_file(key) as path:
            yield path
            self.put(key, path)

    def get(self, key: str) -> bytes:
        return self._call(key, lambda: bytes(self._obstore.get(self._store, self._prefix + key).bytes()))

    def read_range(self, key: str, start: int, length: int) -> bytes:
        if length <= 0:
            return b""

        def read() -> bytes:
            try:
                return bytes(self._obstore.get_range(self._store, self._prefix + key, start=start, length=length))
            except self._obstore.exceptions.BaseError as error:
                if re.search("invalid ?range", str(error), re.IGNORECASE):
                    return b""  # it begins behind the end
                raise

        return self._call(key, read)

    def read_ranges(self, key: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        # Not by obstore's own, which panics where a range begins behind the end.
        runs: list[list[int]] = []
        for start, length in sorted(spans):
            if runs and start <= runs[-1][1] + GAP_BYTES:
                runs[-1][1] = max(runs[-1][1], start + length)
            else:
                runs.append([start, start + length])
        found: dict[tuple[int, int], bytes] = {}
        for first, last in runs:
            data = self.read_range(key, first, last - first)
            found |= {(at, n): data[at - first :][:n] for at, n in spans if first <= at and at + n <= last}
        return [found[span] for span in spans]

    def fetch(self, key: str, path: Path) -> None:
        def copy() -> None:
            with whole_file(path) as temporary, temporary.open("wb") as stream:
                for piece in self._obstore.get(self._store, self._prefix + key).stream(min_chunk_size=1 << 20):
                    stream.write(piece)

        self._call(key, copy)

    def size(self, key: str) -> int | None:
        try:
            return self._call(key, lambda: self._obstore.head(self._store, self._prefix + key))["size"]
        except FileNotFoundError:
            return None

    def list_prefix(self, prefix: str) -> Iterator[Entry]:
        folder = prefix.strip("/")
        below = (self._prefix + (f"{folder}/" if folder else "")).strip("/")
        try:
            for page in self._obstore.list(self._store, below or None):
                for found in page:
                    yield Entry(found["path"].removeprefix(self._prefix), found["size"], found["e_tag"] or "")
        except (self._obstore.exceptions.BaseError, OSError) as error:
            raise self._told(prefix, error) from error

    def delete(self, key: str) -> None:
        try:
            self._call(key, lambda: self._obstore.delete(self._store, self._prefix + key))
        except FileNotFoundError:
            return

    def delete_prefix(self, prefix: str) -> None:
        keys = [self._prefix + entry.key for entry in self.list_prefix(prefix)]
        for start in range(0, len(keys), 1000):
            self._call(prefix, lambda some=keys[start : start + 1000]: self._obstore.delete(self._store, some))  # type: ignore[misc]

    def local(self, key: str) -> Path | None:
        return None

    def _call(self, key: str, request: Callable[[], Answer]) -> Answer:
        """Do a request; one that is broken off is repeated a few times, since every one of ours may be."""
        raised = self._obstore.exceptions
        for left in reversed(range(ROUNDS)):
            try:
                return request()
            except (raised.PermissionDeniedError, raised.UnauthenticatedError) as error:
                raise self._told(key, error) from error
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise self._told(key, error) from error
                raise FileNotFoundError(f"{self.url}/{key}") from error
            except raised.BaseError as error:
                if not left or not _passing(error):
                    raise self._told(key, error) from error
                time.sleep(0.5 * (ROUNDS - left))
        raise AssertionError("the last round returns or raises")

    def _told(self, key: str, error: BaseException) -> StorageError:
        raised = self._obstore.exceptions
        text = str(error)
        code = re.search(r"<Code>(\w+)</Code>", text)
        what = f" ({code[1]})" if code else ""
        if "NoSuchBucket" in text:
            return StorageError(f"{self.url}: there is no such bucket; make it, or correct the name")
        if isinstance(error, raised.PermissionDeniedError | raised.UnauthenticatedError):
            return StorageError(
                f"{self.url}: access is refused{what}; the credentials are taken from the environment: "
                "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for temporary ones, AWS_SESSION_TOKEN"
            )
        if "169.254.169.254" in text or "credential" in text.lower():
            return StorageError(
                f"{self.url}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"
            )
        return StorageError(f"{self.url}/{key}: {_first_line(error)}")


def _passing(error: BaseException) -> bool:
    """Whether the same request may end otherwise later: a server's error, or the way to it."""
    text = str(error)
    return re.search(r"status code: 4(?!08|09|29)\d\d", text) is None and "169.254.169.254" not in text


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
