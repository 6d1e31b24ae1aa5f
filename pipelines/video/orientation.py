"""The display matrix of phone videos: which way up a decoded picture is to be shown.

Follows the ISO base media file format (`tkhd` matrix) and FFmpeg's `av_display_rotation_get`: nine 32-bit integers
a b u c d v x y w that send the stored pixel (p, q) to the shown pixel (a p + c q, b p + d q).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import av
import numpy as np
from av.sidedata.sidedata import SideData, Type
from numpy.typing import NDArray


@dataclass(frozen=True)
class Orientation:
    """One of the eight ways to show a stored picture: transpose first, then flip along x and along y."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False
    exact: bool = True  # False: the matrix asked for another angle than a multiple of 90 degrees

    @property
    def rotation(self) -> int:
        """Degrees, counter-clockwise, that bring the stored picture upright: 0, 90, 180 or 270 (before a mirror)."""
        if self.transpose:
            return 270 if self.flip_x else 90
        return 180 if self.flip_y else 0

    @property
    def mirrored(self) -> bool:
        """Whether the shown picture is a mirror image of the stored one, as some front cameras write it."""
        return (self.flip_x ^ self.flip_y) != self.transpose

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) after the turn of a stored picture; its own inverse."""
        return (height, width) if self.transpose else (width, height)

    def apply(self, plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The upright view of one plane (H, W, ...)."""
        if self.transpose:
            plane = plane.swapaxes(0, 1)
        if self.flip_x:
            plane = plane[:, ::-1]
        if self.flip_y:
            plane = plane[::-1]
        return plane


UPRIGHT = Orientation()


def from_matrix(matrix: tuple[int, ...]) -> Orientation:
    """The orientation nearest to a display matrix of nine 16.16 (and 2.30) fixed-point numbers."""
    a, b, _, c, d, _, _, _, _ = matrix
    straight, turned = abs(a) + abs(d), abs(b) + abs(c)
    if straight == turned == 0:
        return UPRIGHT
    exact = min(straight, turned) * 1000 < max(straight, turned)
    if straight >= turned:
        return Orientation(False, a < 0, d < 0, exact)
    return Orientation(True, c < 0, b < 0, exact)


def of_frame(frame: av.VideoFrame) -> Orientation:
    """The orientation that a decoded frame carries; upright where it carries none."""
    # The container of side data is keyed by type but iterates over the entries, which its type stubs do not say.
    entries = cast(Iterable[SideData], frame.side_data)
    raw = next((bytes(entry) for entry in entries if entry.type == Type.DISPLAYMATRIX), b"")
    return from_matrix(struct.unpack("=9i", raw[:36])) if len(raw) >= 36 else UPRIGHT
