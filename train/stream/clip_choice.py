"""Which frames of a clip become a sample: drawn by numbers alone, before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from train.stream.settings import ClipSettings


@dataclass(frozen=True)
class ClipChoice:
    """frames: T frame numbers of the clip. reference: the reference's frame number. fps: of the T frames as sampled.

    crop_at: where the crop lies along the side that is too long, 0 (left, top) to 1. flip: mirror left and right.
    """

    frames: tuple[int, ...]
    reference: int
    fps: float
    crop_at: float
    flip: bool


def frame_offsets(fps: Fraction, settings: ClipSettings, stride: int) -> tuple[NDArray[np.int64], float]:
    """Frame numbers relative to the first, int64 (T,), and the frames a second that come out.

    The k-th frame is the one nearest to its time: floor(k * step + 1/2) in exact arithmetic.
    """
    step = Fraction(stride)
    if settings.fps is not None:
        step *= max(fps / Fraction(settings.fps).limit_denominator(100_000), Fraction(1))
    half = Fraction(1, 2)
    offsets = np.array([(k * step + half).__floor__() for k in range(settings.frames)], np.int64)
    return offsets, float(fps / step)


def shortest_clip(fps: Fraction, settings: ClipSettings) -> int:
    """How many frames a clip must have to be used."""
    if settings.short == "ping_pong":
        return min(2, settings.frames)
    return int(frame_offsets(fps, settings, min(settings.strides))[0][-1]) + 1


def choose_clip(
    settings: ClipSettings, rng: np.random.Generator, length: int, fps: Fraction, face_seen: NDArray[np.bool_]
) -> ClipChoice:
    """Draw a sample's frames. length: frames of the clip, at least `shortest_clip`. face_seen: bool (length,)."""
    fitting = [s for s in settings.strides if frame_offsets(fps, settings, s)[0][-1] < length]
    # Every draw is made whether it is needed or not: one setting does not move the draws of another.
    which, where, at, mirrored, reference_at = rng.random(5)
    stride = fitting[int(which * len(fitting))] if fitting else min(settings.strides)
    offsets, rate = frame_offsets(fps, settings, stride)
    if fitting:
        frames = int(where * (length - int(offsets[-1]))) + offsets
    else:
        frames = back_and_forth(int(where * length) + offsets, length)
    return ClipChoice(
        frames=tuple(int(frame) for frame in frames),
        reference=_reference(settings, reference_at, length, frames, face_seen),
        fps=rate,
        crop_at=float(at) if settings.crop == "random" else 0.5,
        flip=bool(settings.flip and mirrored < 0.5),
    )


def back_and_forth(frames: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Frame numbers past the end, reflected at both ends without showing an end frame twice: 0 1 2 1 0 1 ..."""
    if length == 1:
        return np.zeros_like(frames)
    around = frames % (2 * (length - 1))
    return np.where(around < length, around, 2 * (length - 1) - around)


def _reference(
    settings: ClipSettings, draw: float, length: int, frames: NDArray[np.int64], face_seen: NDArray[np.bool_]
) -> int:
    if settings.reference == "first":
        return int(frames[0])
    candidates = np.arange(length)
    if settings.reference == "outside":
        outside = candidates[(candidates < frames.min()) | (candidates > frames.max())]
        candidates = outside if len(outside) else candidates
    with_face = candidates[face_seen[candidates]]
    candidates = with_face if len(with_face) else candidates
    return int(candidates[int(draw * len(candidates))])
