"""Poses kept for later jobs, and the poses of a dataset's sample: what drives a job without any estimator.

A `.poses.npz` holds the arrays of a sample's `pose.npz` and `smplx.npz` under `pose.` and `smplx.`, the frame rate and
a version. Nothing in it is pickled.
"""

from __future__ import annotations

import tarfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av.error
import numpy as np

from pipelines.animate.driver import CLIP_FILE
from pipelines.animate.spans import part_of_body, part_of_keypoints, span_frames
from pipelines.clip import BodySequence, Keypoints
from pipelines.engine.ledger import Outcome
from pipelines.shard_format import (
    BadSample,
    Sample,
    decode_body,
    decode_keypoints,
    decode_sample,
    encode_body,
    encode_keypoints,
    pack_arrays,
    read_tar,
    unpack_arrays,
)
from pipelines.video.encode import ClipWriter
from pipelines.video.reader import ClipReader

POSES_FILE = "driver.poses.npz"
FORMAT = 1
MAX_FRAMES = 10_000_000


def pack_poses(keypoints: Keypoints, body: BodySequence, fps: Fraction) -> bytes:
    """The bytes of a `.poses.npz`."""
    arrays: dict[str, Any] = {"format": FORMAT, "fps": [fps.numerator, fps.denominator]}
    for prefix, data in (("pose", encode_keypoints(keypoints)), ("smplx", encode_body(body))):
        arrays |= {f"{prefix}.{name}": array for name, array in unpack_arrays(data).items()}
    return pack_arrays(arrays)


def read_poses(path: Path) -> tuple[Keypoints, BodySequence, Fraction]:
    """Raises `BadSample` for anything that is not such a file."""
    try:
        arrays = unpack_arrays(path.read_bytes(), path.name)
    except OSError as error:
        raise BadSample(f"{path.name}: cannot be read: {error.strerror}") from error
    if "format" not in arrays or arrays["format"].shape != () or arrays["format"] != FORMAT or "fps" not in arrays:
        raise BadSample(f"{path.name} is no file of poses of format {FORMAT}")
    parts = {
        prefix: pack_arrays({n.removeprefix(f"{prefix}."): a for n, a in arrays.items() if n.startswith(f"{prefix}.")})
        for prefix in ("pose", "smplx")
    }
    keypoints = decode_keypoints(parts["pose"], f"{path.name}: pose")
    body = decode_body(parts["smplx"], f"{path.name}: smplx")
    if len(keypoints) != len(body) or not 0 < len(body) <= MAX_FRAMES:
        raise BadSample(f"{path.name}: {len(keypoints)} key points and {len(body)} bodies")
    rate = np.asarray(arrays["fps"])
    if rate.shape != (2,) or rate.dtype.kind not in "iu" or rate.min() < 1 or not 1 <= rate[0] / rate[1] <= 480:
        raise BadSample(f"{path.name}: fps must be two whole numbers, got {rate}")
    return keypoints, body, Fraction(int(rate[0]), int(rate[1]))


def take_poses(
    path: str, folder: Path, start: float, seconds: float | None, fps: float | None, min_side: int
) -> Outcome:
    """The span of a `.poses.npz` into `folder`."""
    del min_side
    try:
        keypoints, body, rate = read_poses(Path(path))
    except BadSample as error:
        return Outcome("quarantined", "bad_poses", str(error))
    return _write(folder, path, keypoints, body, rate, start, seconds, fps)


def take_sample(
    path: str, folder: Path, key: str, start: float, seconds: float | None, fps: float | None, min_side: int
) -> Outcome:
    """The span of a sample of a shard into `folder`, with its frames."""
    del min_side
    try:
        sample = _sample(path, key)
        if sample is None:
            return Outcome("quarantined", "no_such_sample", f"{path} has no sample {key!r}")
        rate = sample.fps
        with ClipReader(sample.video) as reader:
            if (len(reader), reader.size) != (len(sample.body), sample.body.camera.size):
                raise BadSample(
                    f"{path}: sample {key} has {len(sample.body)} poses for {sample.body.camera.size}, its video "
                    f"{len(reader)} frames of {reader.size}"
                )
            outcome = _write(folder, path, sample.keypoints, sample.body, rate, start, seconds, fps)
            if outcome.status == "done":
                frames = span_frames(rate, len(sample.body), start, seconds, fps)[0]
                with ClipWriter(folder / CLIP_FILE, reader.size, Fraction(*outcome.info["fps"])) as writer:
                    for number in frames:
                        writer.write(reader.frames([number])[0])
    except (BadSample, ValueError, OSError, tarfile.TarError, av.error.FFmpegError) as error:
        return Outcome("quarantined", "bad_sample", str(error))
    return outcome


def _sample(path: str, key: str) -> Sample | None:
    """A sample of a shard that anybody may have made. Raises `BadSample`; None where there is none of this key."""
    members = next((members for found, members in read_tar(path) if found == key), None)
    if members is None:
        return None
    try:
        sample = decode_sample(key, members)
        if not 1 <= sample.fps <= 480:
            raise BadSample(f"{path}: sample {key}: {float(sample.fps):g} frames a second")
    except (ArithmeticError, LookupError, TypeError) as error:
        told = f"{type(error).__name__}: {error}"
        raise BadSample(f"{path}: sample {key}: its json or an array is damaged: {told}") from error
    return sample


def _write(
    folder: Path,
    path: str,
    keypoints: Keypoints,
    body: BodySequence,
    rate: Fraction,
    start: float,
    seconds: float | None,
    fps: float | None,
) -> Outcome:
    numbers, taken_rate = span_frames(rate, len(body), start, seconds, fps)
    if not numbers:
        told = f"{path}: lasts {float(len(body) / rate):.2f} s; the span from {start:g} s has no frames"
        return Outcome("quarantined", "empty_span", told)
    rows = np.array(numbers)
    if not body.valid[rows].any():
        return Outcome("quarantined", "nobody", f"{path}: nobody is seen in the span")
    chosen = part_of_keypoints(keypoints, rows), part_of_body(body, rows)
    (folder / POSES_FILE).write_bytes(pack_poses(*chosen, taken_rate))
    facts = {
        "fps": [taken_rate.numerator, taken_rate.denominator],
        "size": list(body.camera.size),
        "frames": len(rows),
        "start": float(numbers[0] / rate),
        "end": float(numbers[-1] / rate),
        "has_audio": False,
    }
    return Outcome(info=facts, frames=len(rows))
