"""Steadiness over time, against the truth: flicker, and the error after warping along the truth's motion."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.clip import Frames

# Pixels that come back within this distance after going along the flow and returning are not occluded: pixels.
RETURNS = 1.0
LEAST = 16


def flicker(before: Frames, after: Frames, truth_before: Frames, truth_after: Frames) -> float:
    """Mean absolute difference, 0..1, of the result's and the truth's change from one frame to the next.

    0 for a perfect result and for a constant error; brightness that comes and goes counts in full.
    """
    change = after.astype(np.int16) - before
    wanted = truth_after.astype(np.int16) - truth_before
    return float(np.abs(change - wanted).mean(dtype=np.float64)) / 255


@dataclass(frozen=True)
class Motion:
    """Where every pixel of a frame is in the next. target: float32 (H, W, 2), its place there. seen: bool (H, W),
    whether it is visible in both."""

    target: NDArray[np.float32]
    seen: NDArray[np.bool_]


class Flow:
    """Dense inverse search (Kroeger et al. 2016), OpenCV's, preset medium."""

    def __init__(self) -> None:
        self.search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def __call__(self, before: Frames, after: Frames) -> Motion:
        a, b = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (before, after))
        # None asks for a new array, which OpenCV's stubs do not know.
        forth = np.asarray(self.search.calc(a, b, None), np.float32)  # type: ignore[call-overload]
        back = np.asarray(self.search.calc(b, a, None), np.float32)  # type: ignore[call-overload]
        height, width = a.shape
        x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        target = np.stack([x, y], axis=2) + forth
        returned = target + cv2.remap(back, target[..., 0], target[..., 1], cv2.INTER_LINEAR)
        distance = np.hypot(returned[..., 0] - x, returned[..., 1] - y)
        inside = (target >= 0).all(axis=2) & (target[..., 0] <= width - 1) & (target[..., 1] <= height - 1)
        return Motion(target, inside & (distance < RETURNS))


def warp_error(before: Frames, after: Frames, motion: Motion) -> float:
    """Mean absolute difference, 0..1, between a frame and the next one brought back along the truth's motion, where
    that is not occluded (Lai et al. 2018, with the truth's flow). NaN where nothing is visible in both."""
    if not motion.seen.any():
        return float("nan")
    brought = cv2.remap(after, motion.target[..., 0], motion.target[..., 1], cv2.INTER_LINEAR)
    difference = np.abs(brought.astype(np.int16) - before).mean(axis=2)
    return float(difference[motion.seen].mean(dtype=np.float64)) / 255
