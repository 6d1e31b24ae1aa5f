"""After sampling, on the CPU: tags, sound, the comparison, the manifest, and a JSON with all that is needed to make the
video again."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipelines.animate.cautions import Caution
from pipelines.animate.estimates import Estimate
from pipelines.animate.framing import Framing, frame_reference
from pipelines.animate.motion import Motion, Picture
from pipelines.animate.mux import with_sound, with_tags
from pipelines.animate.planned import PlannedJob
from pipelines.animate.provenance import container_tags
from pipelines.video.encode import ClipWriter
from pipelines.video.reader import ClipReader

RESULT_FILE = "result.mp4"
COMPARE_FILE = "compare.mp4"
RECIPE_FILE = "result.json"
MANIFEST_FILE = "c2pa.json"
PACKAGES = ("av", "diffusers", "numpy", "onnxruntime", "opencv-python-headless", "torch", "transformers", "vividpose")


def write_result(
    video: Path, folder: Path, job: PlannedJob, unit: str, model_hash: str, driving: Estimate, child: Callable[..., Any]
) -> str | None:
    """`result.mp4` with its tags and, where wanted, the driver's sound. Returns why there is no sound that was wanted.

    child: calls a function in the child process, since the driver's sound is foreign.
    """
    tags = container_tags(unit, model_hash)
    if not job.spec.audio:
        with_tags(video, folder / RESULT_FILE, tags)
        return None
    if job.driving.kind != "video":
        with_tags(video, folder / RESULT_FILE, tags)
        return f"{job.driving.label} holds no sound"
    told: str | None = child(
        with_sound, video, folder / RESULT_FILE, tags, Path(job.driving.path), float(driving.facts["start"])
    )
    return told


def write_comparison(
    video: Path, folder: Path, reference: Estimate, driving: Estimate, motion: Motion, style: Any
) -> None:
    """Reference, driver, skeleton, rendering and result side by side, frame by frame."""
    assert reference.picture is not None, "a reference is a picture"
    with ClipReader(video) as result:
        width, height = result.size
        whole = frame_reference(reference.size, result.size, "letterbox")
        still = whole.reference(reference.picture)
        maps = motion.maps(whole, style)
        writer: ClipWriter | None = None
        try:
            for number, driver in enumerate(_driver_frames(driving, height, width)):
                skeleton, shaded = next(maps)
                row = np.concatenate([still, driver, skeleton, shaded, result.frames([number])[0]], axis=1)
                if writer is None:
                    writer = ClipWriter(folder / COMPARE_FILE, (row.shape[1], row.shape[0]), driving.fps)
                writer.write(row)
        except BaseException:
            if writer is not None:
                writer.discard()
            raise
        assert writer is not None, "a driver has at least one frame"
        writer.finish()


def _driver_frames(driving: Estimate, height: int, width: int) -> Iterator[Picture]:
    """Every frame of the driver at this height; grey ones of `width` where there are only poses."""
    if driving.clip is None:
        for _ in range(len(driving)):
            yield np.full((height, width, 3), 40, np.uint8)
        return
    with ClipReader(driving.clip) as reader:
        wide = max(2, round(reader.size[0] * height / reader.size[1] / 2) * 2)
        for number in range(len(reader)):
            frame = reader.frames([number])[0]
            yield np.asarray(cv2.resize(frame, (wide, height), interpolation=cv2.INTER_AREA), np.uint8)


def recipe(
    job: PlannedJob,
    unit: str,
    inputs: Mapping[str, Any],
    model: Mapping[str, Any],
    estimators: Mapping[str, Any],
    framing: Framing,
    fps: Fraction,
    frames: int,
    cautions: list[Caution],
    notes: list[str],
    seconds: Mapping[str, float],
) -> bytes:
    """The JSON beside a result."""
    facts = {
        "ai_generated": True,
        "job": unit,
        "name": job.name,
        "settings": {**asdict(job.spec), "size": list(job.size)},
        "inputs": inputs,
        "model": model,
        "estimators": estimators,
        "framing": asdict(framing),
        "result": {"size": list(framing.result), "fps": [fps.numerator, fps.denominator], "frames": frames},
        "cautions": [asdict(caution) for caution in cautions],
        "notes": notes,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
    }
    return (json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
