"""One video: maps are drawn, frames are sampled, decoded, brought back into the reference's framing and encoded, all
at the same time and frame by frame."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from pipelines.animate.ahead import Ahead, Behind
from pipelines.animate.estimates import Estimate
from pipelines.animate.framing import Framing, Restorer, frame_reference
from pipelines.animate.jobs import JobSpec
from pipelines.animate.model_source import decode_clock
from pipelines.animate.motion import Motion, Picture
from pipelines.video.encode import ClipWriter

if TYPE_CHECKING:
    from model.animator import AnimationSettings, Animator

VIDEO_FILE = "video.mp4"
FRAMES_FOLDER = "frames"


@dataclass(frozen=True)
class SamplingPlan:
    """What memory decided: see `pipelines.animate.memory`. All of it is part of a result's identity but `offload`."""

    device: str
    precision: str
    window: int
    overlap: int
    decode_frames: int
    decode_context: int
    batched_guidance: bool
    offload: bool

    def identity(self) -> dict[str, Any]:
        facts = asdict(self)
        del facts["offload"]
        facts["device"] = self.device.partition(":")[0]
        return facts


def framing_of(spec: JobSpec, reference: Estimate, size: tuple[int, int]) -> Framing:
    """The framing of a job; a crop is centred on the person."""
    box = reference.keypoints.boxes[0]
    around = None
    if np.isfinite(box).all():
        around = float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2
    return frame_reference(reference.size, size, spec.framing, around)


def sampling_settings(spec: JobSpec, plan: SamplingPlan, fps: float) -> AnimationSettings:
    """What the animator is told."""
    from model.animator import AnimationSettings
    from model.guidance import Guidance
    from model.vae import DecodeWindow

    return AnimationSettings(
        steps=spec.steps,
        schedule=spec.schedule,
        guidance=Guidance(*spec.guidance),
        batched_guidance=plan.batched_guidance,
        window=plan.window,
        overlap=plan.overlap,
        decode=DecodeWindow(plan.decode_frames, plan.decode_context),
        fps=fps,
        motion_bucket=spec.motion_bucket,
        noise_aug=spec.noise_aug,
        seed=spec.seed,
    )


def sample_video(
    animator: Animator,
    spec: JobSpec,
    reference: Estimate,
    motion: Motion,
    fps: Any,
    framing: Framing,
    plan: SamplingPlan,
    style: Any,
    crf: int,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """Writes `video.mp4`, and PNG files where the job wants them. Returns seconds by part.

    fps: Fraction, of the driver's clip. Parts: render (drawing maps), encode (framing and H.264), decode (the VAE),
    sample (the networks); wait is what the networks waited for maps. Render and encode overlap with the others.
    """
    assert reference.picture is not None, "a reference is a picture"
    picture = framing.reference(reference.picture)
    face = None
    if reference.face is not None and bool(reference.face.valid[0]):
        face = np.asarray(reference.face.embeddings[0], np.float32)
    restore = Restorer(framing, reference.picture)
    clock = decode_clock(animator)
    decoded_before = clock.seconds.get("decode", 0.0)
    numbered = 0
    if spec.frames:
        (folder / FRAMES_FOLDER).mkdir()

    def write(frame: Picture) -> None:
        nonlocal numbered
        shown = restore(frame)
        writer.write(shown)
        if spec.frames:
            Image.fromarray(shown).save(folder / FRAMES_FOLDER / f"{numbered:06d}.png", compress_level=4)
        numbered += 1

    poses = Ahead(motion.maps(framing, style))
    start = time.perf_counter()
    try:
        with ClipWriter(folder / VIDEO_FILE, framing.result, fps, crf=crf) as writer, Behind(write) as encoding:
            frames = animator.animate(
                picture,
                poses,
                len(motion),
                face,
                sampling_settings(spec, plan, float(fps)),
                progress=progress,
            )
            for frame in frames:
                encoding.put(frame)
            sampled = time.perf_counter() - start
    finally:
        poses.close()
    decode = clock.seconds.get("decode", 0.0) - decoded_before
    return {
        "render": poses.seconds,
        "wait": poses.waited,
        "sample": sampled - decode - poses.waited,
        "decode": decode,
        "encode": encoding.seconds,
    }
