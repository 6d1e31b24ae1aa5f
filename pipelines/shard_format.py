"""The sample format: the one module that knows how a sample lies in a shard. It writes and it reads.

A shard is a plain USTAR tar that `webdataset` reads. A sample is six members with one key, in this order:

    <key>.face.npz     embeddings (T, 512) float16, valid (T,) bool, score (T,) float32, model, model_hash, normalised
    <key>.json         provenance, licence, fps, source span, estimators, quality scores, schema version
    <key>.pose.npz     keypoints (T, 133, 2) float32 pixels, scores (T, 133) float32, boxes (T, 4) float32, estimator
    <key>.render.mp4   stream 0: the SMPL-X rendering, shaded, lossy; stream 1: its part labels, grey, lossless
    <key>.smplx.npz    SMPL-X parameters, camera, conventions, hash of the body file
    <key>.video.mp4    the frames, H.264, constant frame rate, upright, a key frame at least every 16

Nothing in a sample is pickled, and nothing is unpickled on reading. Equal samples give equal bytes.
"""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.clip import BodySequence, Camera, Keypoints

SCHEMA_VERSION = 1
MEMBERS = ("face.npz", "json", "pose.npz", "render.mp4", "smplx.npz", "video.mp4")
FACE_WIDTH = 512


class BadSample(ValueError):
    """A sample that does not follow the format: which one, which member, what is wrong."""


@dataclass(frozen=True)
class Face:
    """Identity vectors of the main person.

    embeddings: float16 (T, 512), zero where `valid` (T,) is False. score: float32 (T,), the detector's.
    model: name of the recogniser, "none" when no recogniser was there. normalised: whether embeddings have length 1.
    """

    embeddings: NDArray[np.float16]
    valid: NDArray[np.bool_]
    score: NDArray[np.float32]
    model: str
    model_hash: str
    normalised: bool

    @classmethod
    def absent(cls, frames: int) -> Face:
        """No recogniser was available: the arrays keep their shapes, and `valid` and `model` say so."""
        return cls(
            np.zeros((frames, FACE_WIDTH), np.float16),
            np.zeros(frames, bool),
            np.zeros(frames, np.float32),
            "none",
            "",
            False,
        )


@dataclass(frozen=True)
class Sample:
    """A sample as read: small members decoded, the two videos as mp4 bytes (decode with `pipelines.video`)."""

    key: str
    meta: dict[str, Any]
    keypoints: Keypoints
    body: BodySequence
    face: Face
    video: bytes
    render: bytes

    @property
    def fps(self) -> Fraction:
        return Fraction(*self.meta["fps"])


def pack_arrays(arrays: Mapping[str, Any]) -> bytes:
    """A compressed npz of plain arrays and strings; equal input gives equal bytes."""
    stream = io.BytesIO()
    plain = {name: np.asarray(value) for name, value in arrays.items()}
    for name, array in plain.items():
        if array.dtype.hasobject:
            raise TypeError(f"array {name!r} holds Python objects, which an npz can only pickle; give it a plain dtype")
    np.savez_compressed(stream, allow_pickle=False, **plain)
    return stream.getvalue()


def unpack_arrays(data: bytes, what: str = "npz") -> dict[str, NDArray[Any]]:
    """The arrays of an npz; never unpickles. Raises `BadSample` for anything that is not a plain npz."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise BadSample(f"{what} is not a plain npz file: {error}") from error


def encode_keypoints(keypoints: Keypoints) -> bytes:
    return pack_arrays(
        {
            "keypoints": keypoints.points.astype(np.float32),
            "scores": keypoints.scores.astype(np.float32),
            "boxes": keypoints.boxes.astype(np.float32),
            "estimator": keypoints.estimator,
        }
    )


def decode_keypoints(data: bytes, what: str = "pose.npz") -> Keypoints:
    arrays = unpack_arrays(data, what)
    points, scores, boxes = (_take(arrays, name, what) for name in ("keypoints", "scores", "boxes"))
    frames = len(points)
    _expect(what, "keypoints", points, (frames, 133, 2))
    _expect(what, "scores", scores, (frames, 133))
    _expect(what, "boxes", boxes, (frames, 4))
    return Keypoints(points, scores, boxes, str(_take(arrays, "estimator", what)))


BODY_SHAPES: dict[str, tuple[int, ...]] = {
    "expression": (10,),
    "global_orient": (3,),
    "body_pose": (21, 3),
    "left_hand_pose": (15, 3),
    "right_hand_pose": (15, 3),
    "jaw_pose": (3,),
    "transl": (3,),
}


def encode_body(body: BodySequence) -> bytes:
    arrays: dict[str, Any] = {name: np.asarray(getattr(body, name), np.float32) for name in BODY_SHAPES}
    arrays |= {
        "betas": np.asarray(body.betas, np.float32),
        "focal": np.float64(body.camera.focal),
        "principal": np.asarray(body.camera.principal, np.float64),
        "size": np.asarray(body.camera.size, np.int32),
        "flat_hand_mean": np.bool_(body.flat_hand_mean),
        "body_hash": body.body_hash,
        "valid": np.asarray(body.valid, bool),
    }
    return pack_arrays(arrays)


def decode_body(data: bytes, what: str = "smplx.npz") -> BodySequence:
    arrays = unpack_arrays(data, what)
    frames = len(_take(arrays, "transl", what))
    for name, shape in BODY_SHAPES.items():
        _expect(what, name, _take(arrays, name, what), (frames, *shape))
    _expect(what, "betas", _take(arrays, "betas", what), (10,))
    _expect(what, "valid", _take(arrays, "valid", what), (frames,))
    principal, size = _take(arrays, "principal", what), _take(arrays, "size", what)
    camera = Camera(
        float(_take(arrays, "focal", what)), (float(principal[0]), float(principal[1])), (int(size[0]), int(size[1]))
    )
    return BodySequence(
        betas=arrays["betas"],
        **{name: arrays[name] for name in BODY_SHAPES},
        camera=camera,
        flat_hand_mean=bool(_take(arrays, "flat_hand_mean", what)),
        body_hash=str(_take(arrays, "body_hash", what)),
        valid=arrays["valid"],
    )


def encode_face(face: Face) -> bytes:
    return pack_arrays(
        {
            "embeddings": face.embeddings.astype(np.float16),
            "valid": face.valid,
            "score": face.score.astype(np.float32),
            "model": face.model,
            "model_hash": face.model_hash,
            "normalised": np.bool_(face.normalised),
        }
    )


def decode_face(data: bytes, what: str = "face.npz") -> Face:
    arrays = unpack_arrays(data, what)
    frames = len(_take(arrays, "valid", what))
    _expect(what, "embeddings", _take(arrays, "embeddings", what), (frames, FACE_WIDTH))
    _expect(what, "score", _take(arrays, "score", what), (frames,))
    return Face(
        arrays["embeddings"],
        arrays["valid"],
        arrays["score"],
        str(_take(arrays, "model", what)),
        str(_take(arrays, "model_hash", what)),
        bool(_take(arrays, "normalised", what)),
    )


def encode_meta(meta: Mapping[str, Any]) -> bytes:
    return (json.dumps(meta, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def decode_sample(key: str, members: Mapping[str, bytes]) -> Sample:
    """A sample from its members' bytes, by name without the key. Checks presence, shapes and agreement of lengths."""
    missing = [name for name in MEMBERS if name not in members]
    if missing:
        raise BadSample(f"sample {key} lacks {', '.join(missing)}")
    try:
        meta = json.loads(members["json"])
    except ValueError as error:
        raise BadSample(f"sample {key}: json does not parse: {error}") from error
    if not isinstance(meta, dict) or meta.get("schema") != SCHEMA_VERSION:
        found = meta.get("schema") if isinstance(meta, dict) else type(meta).__name__
        raise BadSample(f"sample {key} has schema version {found!r}; this software reads version {SCHEMA_VERSION}")
    keypoints = decode_keypoints(members["pose.npz"], f"sample {key}: pose.npz")
    body = decode_body(members["smplx.npz"], f"sample {key}: smplx.npz")
    face = decode_face(members["face.npz"], f"sample {key}: face.npz")
    lengths = {"pose.npz": len(keypoints), "smplx.npz": len(body), "face.npz": len(face.valid), "json": meta["frames"]}
    if len(set(lengths.values())) != 1:
        raise BadSample(f"sample {key}: members disagree about the number of frames: {lengths}")
    return Sample(key, meta, keypoints, body, face, members["video.mp4"], members["render.mp4"])


def write_tar(path: Path, samples: Iterable[tuple[str, Mapping[str, bytes | Path]]]) -> list[str]:
    """Write samples to a tar, in the order given, and return their keys. Equal samples give an equal file.

    Members are bytes or files. Keys must be unique and must not hold a dot, which would end the key in `webdataset`.
    """
    keys: list[str] = []
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for key, members in samples:
            if "." in key or key in keys:
                raise BadSample(f"key {key!r} holds a dot or was used twice")
            if sorted(members) != sorted(MEMBERS):
                raise BadSample(f"sample {key} has members {sorted(members)}, wants {sorted(MEMBERS)}")
            for name in MEMBERS:
                _add(tar, f"{key}.{name}", members[name])
            keys.append(key)
    return keys


def _add(tar: tarfile.TarFile, name: str, content: bytes | Path) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode = 0o644
    if isinstance(content, Path):
        entry.size = content.stat().st_size
        with content.open("rb") as stream:
            tar.addfile(entry, stream)
    else:
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))


def read_tar(path: Path | str) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The samples of a shard as (key, {member: bytes}), streaming. A truncated shard raises `BadSample`."""
    current: str | None = None
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r|") as tar:
            for entry in tar:
                if not entry.isfile():
                    continue
                key, _, name = entry.name.partition(".")
                if key != current and current is not None:
                    yield current, members
                    members = {}
                current = key
                stream = tar.extractfile(entry)
                assert stream is not None, "a regular file has content"
                members[name] = stream.read()
    except (tarfile.TarError, EOFError) as error:
        raise BadSample(f"{path} is damaged after sample {current}: {error}") from error
    if current is not None:
        yield current, members


def read_shard(path: Path | str) -> Iterator[Sample]:
    """Every sample of a shard, decoded."""
    for key, members in read_tar(path):
        yield decode_sample(key, members)


def _take(arrays: Mapping[str, NDArray[Any]], name: str, what: str) -> NDArray[Any]:
    if name not in arrays:
        raise BadSample(f"{what} lacks the array {name!r}; it has {sorted(arrays)}")
    return arrays[name]


def _expect(what: str, name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise BadSample(f"{what}: {name} has shape {array.shape}, wants {shape}")
