"""Pose maps that come as a stream, and what the pose controller makes of them, kept for as long as it is needed."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.input_check import BadInput
from model.vividpose import VividPose

Picture = NDArray[np.uint8]
PoseMaps = tuple[Picture, Picture]
"""Of one frame: the skeleton map and the SMPL-X rendering, uint8 (H, W, 3) RGB."""


class PoseFeatures:
    """The pose controller's features of the frames under way: computed once for each frame, when a window first asks
    for it, shared by all windows, noise levels and both halves of the guidance, and forgotten with the frame.

    Maps are taken from `poses` in order. Safe for several denoisers at once.
    """

    def __init__(self, model: VividPose, poses: Iterable[PoseMaps], frames: int, size: tuple[int, int]) -> None:
        self._model, self._poses = model, iter(poses)
        self._frames, self._size = frames, size
        self._held: dict[int, Tensor] = {}
        self._taken = self._read = 0  # maps taken from `poses`, frames computed
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many frames are held."""
        return len(self._held)

    def of(self, frames: range) -> Tensor:
        """(1, T, C, h, w)."""
        with self._lock:
            if self._read < frames.stop:
                self._compute(frames.stop - self._read)
            return torch.stack([self._held[frame] for frame in frames])[None]

    def forget_through(self, frame: int) -> None:
        with self._lock:
            for number in [number for number in self._held if number <= frame]:
                del self._held[number]

    @torch.no_grad()
    def _compute(self, count: int) -> None:
        maps = [self._next() for _ in range(count)]
        device = device_of(self._model)
        skeleton, rendering = (
            torch.from_numpy(np.stack(pictures)).to(device).movedim(-1, -3)[None] / 255 for pictures in zip(*maps)
        )
        for features in self._model.pose_features(skeleton, rendering)[0]:
            self._held[self._read] = features.clone()  # not a view that keeps the whole batch
            self._read += 1

    def _next(self) -> PoseMaps:
        at = self._taken + 1
        try:
            skeleton, rendering = next(self._poses)
        except StopIteration:
            raise BadInput(f"the poses ended before frame {at} of {self._frames}") from None
        self._taken = at
        for what, picture in (("skeleton", skeleton), ("rendering", rendering)):
            size = picture_size(picture, f"the {what} map of frame {at}")
            if size != self._size:
                (width, height), (w, h) = size, self._size
                raise BadInput(f"the {what} map of frame {at} is {width}x{height}, the reference {w}x{h}")
        return skeleton, rendering


def picture_size(picture: Picture, what: str) -> tuple[int, int]:
    """(width, height) of a uint8 RGB picture; anything else raises BadInput, which says what it was meant to be."""
    array = np.asarray(picture)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise BadInput(f"{what} must be uint8 (H, W, 3), RGB, not {array.dtype} {array.shape}")
    return array.shape[1], array.shape[0]


def device_of(model: VividPose) -> torch.device:
    """Where the denoising network lies."""
    return model.unet.conv_in.weight.device
