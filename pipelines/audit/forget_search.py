"""Looking for what was withdrawn in every byte of a folder: the proof of a withdrawal.

Raw bytes of all files are searched, and what compression hides is unpacked first: npz and gzip, alone or as members of
a tar, and the values of Parquet tables. Members and files are also compared by sha256.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PREFIX = 16
PIECE = 8 << 20
MAX_UNPACKED = 1 << 30
NAME = "name, path or URL"
# What goes on after a match shows that it is another, longer name: watch/1 and watch/10, 1.mp4 and 1.mp4.bak.
GOES_ON = re.compile(rb"[A-Za-z0-9_\-%=&?/#~+\x80-\xff]|\.[A-Za-z0-9]")
HEX_RUN = re.compile(rb"[0-9a-f]{16,}")


@dataclass(frozen=True)
class Traces:
    """What must not be found. prefixes: the 16 hex digits that sample keys and content hashes of a source begin with.

    texts: paths, URLs and names. probes: bytes cut out of videos and vectors. hashes: sha256 of whole members.
    """

    prefixes: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()
    probes: frozenset[bytes] = frozenset()
    hashes: frozenset[str] = frozenset()

    def __or__(self, other: Traces) -> Traces:
        return Traces(
            self.prefixes | other.prefixes,
            self.texts | other.texts,
            self.probes | other.probes,
            self.hashes | other.hashes,
        )

    def mentions(self, text: str) -> bool:
        """Whether `text` holds a key or a content hash, or is one of the texts."""
        runs = HEX_RUN.findall(text.encode("utf-8", "replace"))
        return text in self.texts or any(_windows(run) & self.prefixes for run in runs)

    def to_json(self) -> dict[str, list[str]]:
        return {
            "prefixes": sorted(self.prefixes),
            "texts": sorted(self.texts),
            "probes": sorted(probe.hex() for probe in self.probes),
            "hashes": sorted(self.hashes),
        }

    @classmethod
    def from_json(cls, raw: dict[str, list[str]]) -> Traces:
        probes = frozenset(bytes.fromhex(probe) for probe in raw["probes"])
        return cls(frozenset(raw["prefixes"]), frozenset(raw["texts"]), probes, frozenset(raw["hashes"]))


@dataclass
class Proof:
    """What was looked at and what was found. found: (place, what) of every trace that is left."""

    files: int = 0
    bytes: int = 0
    unpacked: int = 0
    members: int = 0
    found: list[tuple[str, str]] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not self.found


class Finder:
    """Finds traces in pieces of bytes, in one pass however many traces there are."""

    def __init__(self, traces: Traces) -> None:
        self.traces = traces
        # Other programs may have written the same text in JSON's ASCII.
        written = {form for text in traces.texts for form in (text.encode(), json.dumps(text)[1:-1].encode())}
        needles = {form: NAME for form in written if len(form) >= 4}
        needles |= dict.fromkeys(traces.probes, "bytes of a video or of a face vector")
        self._needles: dict[bytes, list[tuple[bytes, str]]] = {}
        for needle, what in needles.items():
            self._needles.setdefault(needle[:4], []).append((needle, what))
        self._first, self._second = np.zeros(65536, bool), np.zeros(65536, bool)
        for start in self._needles:
            words = np.frombuffer(start, "<u2")
            self._first[words[0]] = self._second[words[1]] = True
        self.longest = max((len(needle) for needle in needles), default=0)

    def find(self, data: bytes) -> set[str]:
        """What of the traces occurs in `data`, in words."""
        found = {"sample key or content hash" for run in HEX_RUN.findall(data) if _windows(run) & self.traces.prefixes}
        if self._needles and len(data) >= 4:
            for shift in (0, 1):
                words = np.frombuffer(data, "<u2", offset=shift, count=max(0, (len(data) - shift) // 2))
                places = np.flatnonzero(self._first[words[:-1]])
                for place in places[self._second[words[places + 1]]]:
                    at = 2 * int(place) + shift
                    for needle, what in self._needles.get(data[at : at + 4], ()):
                        if data.startswith(needle, at) and (what != NAME or _ends(data, at + len(needle))):
                            found.add(what)
        return found


def _ends(data: bytes, at: int) -> bool:
    return GOES_ON.match(data, at) is None


def _windows(run: bytes) -> set[str]:
    text = run.decode("ascii")
    return {text[start : start + PREFIX] for start in range(len(text) - PREFIX + 1)}


def search(folder: Path, traces: Traces, skip: Iterable[Path] = ()) -> Proof:
    """Look for the traces in every file under `folder` but those in `skip`, and in their names."""
    finder, proof, left_out = Finder(traces), Proof(), set(skip)
    for path in files_under(folder):
        name = path.relative_to(folder).as_posix()
        if path in left_out:
            continue
        proof.files += 1
        if traces.mentions(name):
            proof.found.append((name, "the file's own name"))
        if path.is_symlink():
            proof.closed.append(f"{name}: a link to {os.readlink(path)}, which was not followed")
            continue
        for what in sorted(search_file(path, finder, proof)):
            proof.found.append((name, what))
    return proof


def files_under(folder: Path) -> Iterator[Path]:
    """Every file and link, in a fixed order.

    A folder directly in `folder` may be a link, to shards on another disk, and is followed; links below are not.
    """
    if not folder.is_dir():
        return
    for top in sorted(folder.iterdir()):
        if not top.is_dir():
            yield top
            continue
        for root, folders, files in os.walk(top):
            folders.sort()
            linked = [name for name in folders if os.path.islink(os.path.join(root, name))]
            for name in sorted(files + linked):
                yield Path(root, name)


def search_file(path: Path, finder: Finder, proof: Proof) -> set[str]:
    """What of the traces is in a file, packed or not; `proof` is told how much was looked at."""
    total, found, tail = hashlib.sha256(), set(), b""
    with path.open("rb") as stream:
        while piece := stream.read(PIECE):
            total.update(piece)
            found |= finder.find(tail + piece)
            tail = piece[-max(64, finder.longest) :]
            proof.bytes += len(piece)
    if total.hexdigest() in finder.traces.hashes:
        found.add("a whole member")
    if path.suffix == ".tar":
        found |= _search_tar(path, finder, proof)
    elif path.suffix == ".parquet":
        found |= _search_table(path, finder, proof)
    elif path.suffix in (".npz", ".zip", ".gz"):
        found |= _search_packed(path.read_bytes(), path.suffix, str(path), finder, proof)
    return found


def _search_tar(path: Path, finder: Finder, proof: Proof) -> set[str]:
    found: set[str] = set()
    try:
        with tarfile.open(path, "r:") as tar:
            for entry in tar:
                stream = tar.extractfile(entry) if entry.isfile() else None
                if stream is None:
                    continue
                proof.members += 1
                suffix = Path(entry.name).suffix
                total = hashlib.sha256()
                data = bytearray()
                while piece := stream.read(PIECE):
                    total.update(piece)
                    if suffix in (".npz", ".zip", ".gz"):
                        data += piece
                if total.hexdigest() in finder.traces.hashes:
                    found.add(f"a whole member, as {entry.name}")
                if data:
                    found |= _search_packed(bytes(data), suffix, f"{path}: {entry.name}", finder, proof)
    except (tarfile.TarError, EOFError) as error:
        proof.closed.append(f"{path}: a damaged tar ({error}); its raw bytes were searched")
    return found


def _search_packed(data: bytes, suffix: str, where: str, finder: Finder, proof: Proof) -> set[str]:
    found: set[str] = set()
    for content in _unpack(data, suffix, where, proof):
        proof.unpacked += len(content)
        found |= finder.find(content)
    return found


def _unpack(data: bytes, suffix: str, where: str, proof: Proof) -> Iterator[bytes]:
    try:
        if suffix == ".gz":
            content = zlib.decompressobj(wbits=31).decompress(data, MAX_UNPACKED)
            if len(content) == MAX_UNPACKED:
                proof.closed.append(f"{where}: unpacks to over {MAX_UNPACKED >> 20} MB; the rest was not looked at")
            yield content
            return
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist():
                if entry.file_size > MAX_UNPACKED:
                    size = f"{entry.file_size >> 20} MB"
                    proof.closed.append(f"{where}: {entry.filename} would unpack to {size}; not searched")
                else:
                    yield archive.read(entry)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        proof.closed.append(f"{where}: cannot be unpacked ({error}); its raw bytes were searched")


def _search_table(path: Path, finder: Finder, proof: Proof) -> set[str]:
    """The values of a Parquet table, which its compression hides."""
    found: set[str] = set()
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=4096):
                for column in batch.columns:
                    for content in _column_bytes(column):
                        proof.unpacked += len(content)
                        found |= finder.find(content)
    except (pa.ArrowException, OSError) as error:
        proof.closed.append(f"{path}: not a readable Parquet table ({error}); its raw bytes were searched")
    return found


def _column_bytes(column: pa.Array) -> Iterator[bytes]:
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        yield "\n".join(value for value in column.to_pylist() if value).encode()
    elif pa.types.is_floating(kind):
        yield column.drop_null().to_numpy(zero_copy_only=False).tobytes()
    elif pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind) or pa.types.is_large_binary(kind):
        yield b"\n".join(value for value in column.to_pylist() if value)
    elif pa.types.is_dictionary(kind):
        yield from _column_bytes(column.dictionary_decode())
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from _column_bytes(column.flatten())
    elif pa.types.is_map(kind):
        yield from _column_bytes(column.keys)
        yield from _column_bytes(column.items)
    elif pa.types.is_struct(kind):
        for part in column.flatten():
            yield from _column_bytes(part)
