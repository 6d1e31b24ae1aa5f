"""Small real datasets: shards of short clips in which every frame can be told by its grey value."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np

from pipelines import shard_format as fmt
from pipelines.clip import BodySequence, Camera, Keypoints
from pipelines.engine.atomic import digest, file_digest
from pipelines.shard_index import index_name, index_tar
from pipelines.video.encode import encode_clip, encode_maps

SIZE = (32, 48)
FPS = Fraction(25)


def grey_of(frame: int) -> int:
    """The grey value of a frame: far enough from its neighbours' to survive compression."""
    return 20 + 8 * (frame % 25)


def frame_of(grey: float) -> int:
    return round((grey - 20) / 8)


def keypoints_of(frames: int, size: tuple[int, int]) -> Keypoints:
    points = np.zeros((frames, 133, 2), np.float32)
    points[...] = np.linspace(0.2, 0.8, 133)[None, :, None] * np.array(size)
    return Keypoints(points, np.full((frames, 133), 0.9, np.float32), np.zeros((frames, 4), np.float32), "test/1")


def body_of(frames: int, size: tuple[int, int]) -> BodySequence:
    arrays = {name: np.zeros((frames, *shape), np.float32) for name, shape in fmt.BODY_SHAPES.items()}
    camera = Camera(100.0, (size[0] / 2, size[1] / 2), size)
    return BodySequence(np.zeros(10, np.float32), **arrays, camera=camera, flat_hand_mean=True, body_hash="ab" * 32,
                        valid=np.ones(frames, bool))  # fmt: skip


def face_of(frames: int, seed: int) -> fmt.Face:
    """A face that is seen in every third frame; its vector begins with the frame's number + 1."""
    vectors = np.random.default_rng(seed).normal(size=(frames, 512)).astype(np.float16)
    valid = np.arange(frames) % 3 == 0
    return fmt.Face(
        np.where(valid[:, None], vectors, 0).astype(np.float16), valid, valid.astype(np.float32), "r", "h", False
    )


def members_of(frames: int, seed: int, size: tuple[int, int] = SIZE, fps: Fraction = FPS) -> dict[str, bytes]:
    width, height = size
    pictures = [np.full((height, width, 3), grey_of(frame), np.uint8) for frame in range(frames)]
    labels = [np.zeros((height, width), np.uint8)] * frames
    with tempfile.TemporaryDirectory() as folder:
        video, maps = Path(folder, "video.mp4"), Path(folder, "render.mp4")
        encode_clip(video, pictures, fps)
        encode_maps(maps, pictures, labels, fps)
        films = {"video.mp4": video.read_bytes(), "render.mp4": maps.read_bytes()}
    meta = {"schema": fmt.SCHEMA_VERSION, "frames": frames, "fps": list(fps.as_integer_ratio()), "size": list(size)}
    return {
        **films,
        "json": fmt.encode_meta({**meta, "seed": seed}),
        "pose.npz": fmt.encode_keypoints(keypoints_of(frames, size)),
        "smplx.npz": fmt.encode_body(body_of(frames, size)),
        "face.npz": fmt.encode_face(face_of(frames, seed)),
    }


def write_dataset(out: Path, shards: Sequence[Sequence[tuple[str, dict[str, bytes]]]], *, indexed: bool = True) -> Path:
    """An output folder as `vividpose shards` leaves it, as far as a reader is concerned."""
    (out / "shards").mkdir(parents=True)
    rows = []
    for number, samples in enumerate(shards):
        name = f"vividpose-{number:06d}.tar"
        tar = out / "shards" / name
        fmt.write_tar(tar, samples)
        facts = {"sha256": file_digest(tar), "bytes": tar.stat().st_size}
        rows.append({"name": name, **facts, "samples": len(samples), "frames": 0})
        if indexed:
            index = index_tar(tar, name, facts["sha256"], facts["bytes"])
            (tar.parent / index_name(name)).write_bytes(index.to_json())
    listing = {"schema": fmt.SCHEMA_VERSION, "hash": digest([[r["name"], r["sha256"]] for r in rows]), "shards": rows}
    (out / "dataset.json").write_text(json.dumps(listing))
    return out


def key_of(number: int) -> str:
    return f"{hashlib.sha256(str(number).encode()).hexdigest()[:16]}_000000"


def small_dataset(
    out: Path, sizes: Sequence[int] = (5, 3, 4), frames: int = 20, first: int = 0, **kwargs: bool
) -> Path:
    """Shards of so many clips each; clip n has the key `key_of(n)`. They share their pictures: encoding takes time."""
    clip = members_of(frames, 0)
    samples = [(key_of(first + n), {**clip, "json": _numbered(clip["json"], first + n)}) for n in range(sum(sizes))]
    ends = np.cumsum([0, *sizes])
    return write_dataset(out, [samples[a:b] for a, b in pairwise(ends)], **kwargs)


def _numbered(meta: bytes, number: int) -> bytes:
    return fmt.encode_meta({**json.loads(meta), "seed": number})
