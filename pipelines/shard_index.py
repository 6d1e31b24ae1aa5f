"""The index of a shard: where each member of each sample lies, so that a reader takes what it needs by range.

`NAME.index.json` lies beside `NAME.tar` and names the tar's sha256: an index of another tar is not taken for this
one's.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from pipelines.shard_format import MEMBERS, SCHEMA_VERSION, BadSample

INDEX_VERSION = 1


@dataclass(frozen=True)
class ShardIndex:
    """keys: in the order of the tar. frames: of each clip. fps: as (numerator, denominator). picture: (width, height).

    members: for each member name, (byte offset of its content in the tar, bytes) per sample.
    sha256, size in bytes: of the whole tar.
    """

    shard: str
    sha256: str
    size: int
    keys: tuple[str, ...]
    frames: tuple[int, ...]
    fps: tuple[tuple[int, int], ...]
    picture: tuple[tuple[int, int], ...]
    members: Mapping[str, tuple[tuple[int, int], ...]]

    def __len__(self) -> int:
        return len(self.keys)

    def to_json(self) -> bytes:
        """One line per column: small, and equal indexes give equal bytes."""
        plain = {"version": INDEX_VERSION, "samples": len(self), **vars(self), "members": dict(self.members)}
        return (json.dumps(plain, sort_keys=True, separators=(",", ":")) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes, what: str = "index") -> ShardIndex:
        """Raises `BadSample` for anything that is not a complete index."""
        try:
            raw = json.loads(data)
            if raw["version"] != INDEX_VERSION:
                raise BadSample(f"{what} has version {raw['version']}; this software reads version {INDEX_VERSION}")
            index = cls(
                str(raw["shard"]),
                str(raw["sha256"]),
                int(raw["size"]),
                tuple(map(str, raw["keys"])),
                tuple(map(int, raw["frames"])),
                tuple((int(num), int(den)) for num, den in raw["fps"]),
                tuple((int(w), int(h)) for w, h in raw["picture"]),
                {name: tuple((int(at), int(n)) for at, n in raw["members"][name]) for name in MEMBERS},
            )
        except (ValueError, KeyError, TypeError) as error:
            raise BadSample(f"{what} is not the index of a shard ({error!r}); delete it") from error
        return index.checked(what)

    def checked(self, what: str) -> Self:
        """Itself, or `BadSample` where columns differ in length or a member lies outside the tar."""
        columns = {len(column) for column in (self.frames, self.fps, self.picture, *self.members.values())}
        if columns != {len(self)} or len(set(self.keys)) != len(self):
            raise BadSample(f"{what} is not whole: {len(self)} keys, columns of {sorted(columns)}; delete it")
        places = [place for column in self.members.values() for place in column]
        if any(at < 0 or size < 0 or at + size > self.size for at, size in places):
            raise BadSample(f"{what}: a member lies outside the {self.size} bytes of the shard")
        if any(frames < 1 or num < 1 or den < 1 for frames, (num, den) in zip(self.frames, self.fps)):
            raise BadSample(f"{what}: a clip has no frames or no frame rate")
        return self


def index_name(shard: str) -> str:
    """The file name of a shard's index: `x.tar` has `x.index.json`."""
    return shard.removesuffix(".tar") + ".index.json"


def index_tar(tar: Path | IO[bytes], shard: str, sha256: str, size: int) -> ShardIndex:
    """The index of a tar that `write_tar` wrote; reads the headers and the json members, seeking over the rest.

    Raises `BadSample` for a damaged tar and for samples that lack a member or are not of this format.
    """
    places: dict[str, dict[str, tuple[int, int]]] = {}
    metas: dict[str, dict[str, Any]] = {}
    try:
        with tarfile.open(tar, "r:") if isinstance(tar, Path) else tarfile.open(fileobj=tar, mode="r:") as archive:
            for entry in archive:
                if not entry.isfile():
                    continue
                key, _, member = entry.name.partition(".")
                places.setdefault(key, {})[member] = (entry.offset_data, entry.size)
                if member == "json":
                    stream = archive.extractfile(entry)
                    assert stream is not None, "a regular file has content"
                    metas[key] = json.loads(stream.read())
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise BadSample(f"{shard} is damaged after sample {next(reversed(places), None)}: {error}") from error
    for key, members in places.items():
        missing = [name for name in MEMBERS if name not in members]
        if missing:
            raise BadSample(f"{shard}: sample {key} lacks {', '.join(missing)}")
        if metas[key].get("schema") != SCHEMA_VERSION:
            raise BadSample(f"{shard}: sample {key} has schema version {metas[key].get('schema')!r}")
    try:
        return ShardIndex(
            shard,
            sha256,
            size,
            tuple(places),
            tuple(int(metas[key]["frames"]) for key in places),
            tuple((int(metas[key]["fps"][0]), int(metas[key]["fps"][1])) for key in places),
            tuple((int(metas[key]["size"][0]), int(metas[key]["size"][1])) for key in places),
            {name: tuple(members[name] for members in places.values()) for name in MEMBERS},
        ).checked(shard)
    except (KeyError, TypeError, IndexError) as error:
        raise BadSample(f"{shard}: the json of a sample lacks frames, fps or size ({error!r})") from error
