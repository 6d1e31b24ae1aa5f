"""Rewriting a tar without some samples, or with some members replaced. Everything else stays byte for byte."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from pipelines.audit.forget_search import PREFIX, Traces
from pipelines.engine.atomic import file_digest, whole_file, write_whole
from pipelines.shard_format import BadSample, Face, decode_face, encode_face
from pipelines.shard_index import index_name, index_tar

MAX_JSON = 16 << 20
MAX_FACE = 64 << 20
FACE_PROBE, MEDIA_PROBE = 16, 32

Replace = Callable[[str, bytes], bytes | None]


class DamagedShard(RuntimeError):
    """A shard that cannot be read to its end, so that nobody can say what is in it."""


@dataclass
class ShardFacts:
    """What dataset.json says of a shard. keys: in the order of the tar."""

    sha256: str
    bytes: int
    samples: int
    frames: int
    keys: list[str] = field(default_factory=list)


def belongs(name: str, prefixes: Iterable[str]) -> bool:
    """Whether a member or a file is of one of the sources: sample keys begin with 16 digits of the source's hash."""
    base = name.rpartition("/")[2]
    return base[:PREFIX] in prefixes


def keys_of(path: Path) -> list[str]:
    """The keys in a tar, in order, from its headers alone."""
    return list(dict.fromkeys(entry.name.partition(".")[0] for entry in _entries(path)))


def traces_of(path: Path, prefixes: frozenset[str]) -> Traces:
    """What to look for once these samples are gone: hashes of their members, probes of their videos and vectors."""
    hashes, probes = set(), set()
    with path.open("rb") as stream:
        for entry in _entries(path):
            if not belongs(entry.name, prefixes):
                continue
            stream.seek(entry.offset_data)
            data = stream.read(entry.size)
            if entry.name.endswith(".face.npz"):
                vectors = face_probes(data)
                probes |= vectors
                if not vectors:
                    continue  # without vectors, faces of clips of one length are equal
            hashes.add(hashlib.sha256(data).hexdigest())
            if entry.name.endswith(".video.mp4"):  # renderings of two people can begin alike
                probes |= media_probes(data)
    return Traces(hashes=frozenset(hashes), probes=frozenset(probes))


def media_probes(data: bytes) -> set[bytes]:
    """Pieces of a file's coded pictures that no other file has: from several places, and as varied as noise, which
    neither headers nor tables nor the settings that an encoder writes down are."""
    cuts = {data[at : at + MEDIA_PROBE] for at in (len(data) * part // 8 for part in range(2, 8))}
    return {cut for cut in cuts if len(set(cut)) >= 0.75 * MEDIA_PROBE}


def face_probes(data: bytes) -> set[bytes]:
    """The beginnings of the identity vectors as they may lie in a file: float16, float32 and float64."""
    try:
        face = decode_face(data)
    except BadSample:
        return set()
    rows = face.embeddings[face.valid]
    return {row.astype(kind).tobytes()[:FACE_PROBE] for row in rows for kind in (np.float16, np.float32, np.float64)}


def rewrite(path: Path, prefixes: frozenset[str] = frozenset(), replace: Replace | None = None) -> ShardFacts:
    """Write the tar anew without the samples of `prefixes`, with members for which `replace(name, data)` gives bytes.

    A tar that is left without samples is removed; its facts then say 0 samples. Raises `DamagedShard`.
    """
    with whole_file(path) as temporary, path.open("rb") as old, temporary.open("wb") as new:
        for entry in _entries(path):
            if not belongs(entry.name, prefixes):
                _copy(old, new, entry, replace)
        # The end of an archive as `tarfile` writes it: two empty blocks, then empty blocks up to a full record.
        new.write(bytes(1024))
        new.write(bytes(-new.tell() % tarfile.RECORDSIZE))
    facts = facts_of(path)
    if not facts.samples:
        path.unlink()
    return facts


def facts_of(path: Path) -> ShardFacts:
    """What dataset.json says of a shard, read off the file. A sample whose json does not tell has no frames."""
    frames: dict[str, int] = {}
    with path.open("rb") as stream:
        for entry in _entries(path):
            key, _, member = entry.name.partition(".")
            frames.setdefault(key, 0)
            if member == "json" and entry.size <= MAX_JSON:
                stream.seek(entry.offset_data)
                frames[key] = _frames(stream.read(entry.size))
    return ShardFacts(file_digest(path), path.stat().st_size, len(frames), sum(frames.values()), list(frames))


def write_index(path: Path, facts: ShardFacts) -> None:
    """Bring the index beside a shard up to date, if there is one; a shard that cannot be indexed has none."""
    index = path.with_name(index_name(path.name))
    if not index.exists():
        return
    try:
        if not path.exists():
            raise BadSample(f"{path} is gone")
        write_whole(index, index_tar(path, path.name, facts.sha256, facts.bytes).to_json())
    except BadSample:
        index.unlink()


def _copy(old: IO[bytes], new: IO[bytes], entry: tarfile.TarInfo, replace: Replace | None) -> None:
    if replace is not None and entry.isfile() and entry.size <= MAX_FACE:
        old.seek(entry.offset_data)
        changed = replace(entry.name, old.read(entry.size))
        if changed is not None:
            header = tarfile.TarInfo(entry.name)
            header.mode, header.size = entry.mode, len(changed)
            new.write(header.tobuf(tarfile.USTAR_FORMAT))
            new.write(changed + bytes(-len(changed) % tarfile.BLOCKSIZE))
            return
    old.seek(entry.offset)
    left = entry.offset_data - entry.offset + entry.size
    left += -left % tarfile.BLOCKSIZE
    while left:
        piece = old.read(min(left, 1 << 20))
        if not piece:
            raise DamagedShard(f"{old.name} ends inside {entry.name}")
        new.write(piece)
        left -= len(piece)


def _entries(path: Path) -> list[tarfile.TarInfo]:
    try:
        with tarfile.open(path, "r:") as tar:
            entries = [entry for entry in tar if entry.isfile()]
            end = max((entry.offset_data + entry.size for entry in entries), default=0)
    except (tarfile.TarError, EOFError) as error:
        raise DamagedShard(f"{path} is not a whole tar ({error}): restore it or remove it, then run again") from error
    if path.stat().st_size < end:
        raise DamagedShard(f"{path} is cut off: restore it or remove it, then run again")
    return entries


def _frames(data: bytes) -> int:
    try:
        frames: Any = json.loads(data)["frames"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0
    return frames if isinstance(frames, int) else 0


def without_vectors(name: str, data: bytes) -> bytes | None:
    """`Replace` that takes the identity vectors out of a `face.npz`; None where it has none."""
    if not name.endswith("face.npz"):
        return None
    try:
        face = decode_face(data, name)
    except BadSample:
        return None
    return encode_face(Face.absent(len(face.valid))) if face.valid.any() or face.embeddings.any() else None


