"""What lies in a shard, read as untrusted: nothing is extracted to disk, unpickled or taken at its word.

Only plain USTAR headers are understood, since that is all the packer writes: links, long-name and sparse extensions are
problems to report, not features to follow.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.shard_format import MEMBERS, BadSample, Sample, decode_sample

MAX_FRAMES = 100_000
MAX_SIDE = 16_384
MAX_TEXT = 10_000
MAX_UNPACKED = 512 << 20
MAX_BYTES = {"json": 1 << 20, "face.npz": 256 << 20, "pose.npz": 256 << 20, "smplx.npz": 64 << 20,
             "video.mp4": 4 << 30, "render.mp4": 4 << 30}  # fmt: skip
_KEY = re.compile(r"[0-9A-Za-z_-]{1,100}")
_BLOCK = 512
_TYPES = {b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"5": "a folder",
          b"6": "a pipe"}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where a member's content lies in its shard, in bytes."""

    offset: int
    size: int


@dataclass
class Contents:
    """samples: by key, the places of its members. problems: what was met that should not be there, in order."""

    samples: dict[str, dict[str, Place]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def list_members(path: Path) -> Contents:
    """Walk the tar's headers. Damage ends the walk with a problem; what came before it stays usable."""
    contents = Contents()
    total = path.stat().st_size
    with path.open("rb") as stream:
        at = 0
        while at + _BLOCK <= total:
            stream.seek(at)
            header = stream.read(_BLOCK)
            if not any(header):
                return contents
            size = _size(header)
            if size is None:
                contents.problems.append(f"no tar header at byte {at}: the shard is damaged from there on")
                return contents
            _take(contents, header, Place(at + _BLOCK, size), total)
            at += _BLOCK + -(-size // _BLOCK) * _BLOCK
    contents.problems.append(f"the tar ends after {total} bytes without its end mark: it is truncated")
    return contents


def _size(header: bytes) -> int | None:
    """The size that a header states, or None where it is no header (its checksum is wrong)."""
    try:
        stated = int(header[148:156].strip(b" \0") or b"x", 8)
        size = int(header[124:136].strip(b" \0") or b"0", 8)
    except ValueError:
        return None
    return size if stated == sum(header) - sum(header[148:156]) + 8 * 32 and size >= 0 else None


def _take(contents: Contents, header: bytes, place: Place, total: int) -> None:
    prefix, name = (header[a:b].split(b"\0")[0].decode("utf-8", "backslashreplace") for a, b in ((345, 500), (0, 100)))
    whole = f"{prefix}/{name}" if prefix else name
    shown, kind = repr(whole[:200]), header[156:157]
    key, _, member = whole.partition(".")
    if kind not in (b"0", b"\0"):
        contents.problems.append(f"{shown} is {_TYPES.get(kind, 'of a type that no shard holds')}; not followed")
    elif not _KEY.fullmatch(key) or member not in MEMBERS:
        contents.problems.append(f"{shown} is no member of a sample; not read")
    elif member in contents.samples.get(key, {}):
        contents.problems.append(f"{shown} is there twice; the first one counts")
    else:
        contents.samples.setdefault(key, {})[member] = place
        if place.offset + place.size > total:
            contents.problems.append(f"{shown} is cut off: the shard is truncated")


def read_member(path: Path, key: str, name: str, place: Place) -> bytes:
    """A member's bytes. Raises `BadSample` where it is too large or cut off."""
    if place.size > MAX_BYTES[name]:
        raise BadSample(f"{name} has {place.size} bytes, more than the {MAX_BYTES[name]} that are read")
    with path.open("rb") as stream:
        stream.seek(place.offset)
        data = stream.read(place.size)
    if len(data) != place.size:
        raise BadSample(f"{name} is cut off after {len(data)} of {place.size} bytes")
    return data


def read_sample(path: Path, key: str, members: dict[str, Place], *, videos: bool = True) -> Sample:
    """A sample, checked. Without `videos` the two mp4 stay unread (empty bytes). Raises `BadSample`."""
    missing = [name for name in MEMBERS if name not in members]
    if missing:
        raise BadSample(f"lacks {', '.join(missing)}")
    small = [name for name in MEMBERS if not name.endswith("mp4")]
    data = dict.fromkeys(MEMBERS, b"")
    for name in MEMBERS if videos else small:
        data[name] = read_member(path, key, name, members[name])
    meta = check_meta(key, data["json"])
    for name in small:
        if name.endswith("npz"):
            _check_npz(name, data[name])
    try:
        sample = decode_sample(key, data)
    except (MemoryError, OverflowError, TypeError, IndexError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise BadSample(f"cannot be decoded: {type(error).__name__}: {error}") from error
    _check_numbers(sample)
    if sample.body.camera.size != tuple(meta["size"]):
        raise BadSample(f"json says {meta['size']}, the camera of smplx.npz says {sample.body.camera.size}")
    return sample


def check_meta(key: str, data: bytes) -> dict[str, Any]:
    """The sample's json, or `BadSample`: NaN, deep nesting, texts without end and impossible numbers are refused."""

    def refuse(name: str) -> None:
        raise BadSample(f"json holds {name}, which is no JSON")

    try:
        meta = json.loads(data, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        if isinstance(error, BadSample):
            raise
        raise BadSample(f"json does not parse: {type(error).__name__}") from error
    if not isinstance(meta, dict):
        raise BadSample(f"json holds a {type(meta).__name__}, expected an object")
    if meta.get("key") != key:
        raise BadSample(f"json is of the sample {str(meta.get('key'))[:80]!r}")
    _whole(meta.get("frames"), "frames", 1, MAX_FRAMES)
    for name, most in (("fps", 10**7), ("size", MAX_SIDE)):
        pair = meta.get(name)
        if not isinstance(pair, list) or len(pair) != 2:
            raise BadSample(f"json: {name} should be two numbers")
        for number in pair:
            _whole(number, name, 1, most)
    source = meta.get("source")
    if not isinstance(source, dict) or not isinstance(source.get("provenance"), dict):
        raise BadSample("json: source.provenance should be an object")
    for texts in (source, source["provenance"], meta):
        for name, value in texts.items():
            if isinstance(value, str) and len(value) > MAX_TEXT:
                raise BadSample(f"json: {name[:40]} has {len(value)} characters, more than {MAX_TEXT}")
    return meta


def _whole(value: object, name: str, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise BadSample(f"json: {name} should be a whole number from {least} to {most}, is {str(value)[:60]}")


def _check_npz(name: str, data: bytes) -> None:
    """Refuse an archive whose arrays would be larger than any clip's, before it is unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise BadSample(f"{name} is not a plain npz file: {error}") from error
    if unpacked > MAX_UNPACKED:
        raise BadSample(f"{name} would unpack to {unpacked} bytes, more than the {MAX_UNPACKED} that are allowed")


def _check_numbers(sample: Sample) -> None:
    keypoints, body = sample.keypoints, sample.body
    for what, array in (("keypoints", keypoints.points), ("scores", keypoints.scores)):
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise BadSample(f"pose.npz: {what} holds values that are not finite numbers")
    valid = body.valid.astype(bool)
    for name in ("global_orient", "body_pose", "transl", "expression", "left_hand_pose", "right_hand_pose", "jaw_pose"):
        array = getattr(body, name)
        if array.dtype.kind != "f" or not np.isfinite(array[valid]).all():
            raise BadSample(f"smplx.npz: {name} holds values that are not finite numbers")
    if not np.isfinite(body.betas).all() or not np.isfinite(body.camera.focal) or body.camera.focal <= 0:
        raise BadSample("smplx.npz: betas or focal are not finite, or focal is not positive")
    if sample.face.embeddings.dtype.kind != "f" or sample.face.valid.dtype != bool:
        raise BadSample("face.npz: embeddings should be floating point and valid should be booleans")
    if not np.isfinite(sample.face.embeddings[sample.face.valid].astype(np.float32)).all():
        raise BadSample("face.npz: embeddings holds values that are not finite numbers")
