"""What detectors and recognisers of faces are to the rest of this stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.clip import Floats, Frames


@dataclass(frozen=True)
class Faces:
    """The n faces in a picture. boxes: float32 (n, 4), x0 y0 x1 y1 pixels. scores: float32 (n,), 0 to 1.

    points: float32 (n, 5, 2), pixels: eye, eye, tip of the nose, corners of the mouth, each pair from the picture's
    left.
    """

    boxes: Floats
    scores: Floats
    points: Floats

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def sizes(self) -> NDArray[np.float32]:
        """(n,) the root of the boxes' areas, pixels."""
        return np.sqrt(np.maximum(self.boxes[:, 2:] - self.boxes[:, :2], 0).prod(axis=1))


class Detector(Protocol):
    def detect(self, frame: Frames) -> Faces:
        """The faces in a frame (H, W, 3), uint8 RGB."""
        ...


class Recogniser(Protocol):
    width: int

    def embed(self, crops: Sequence[Frames]) -> Floats:
        """float32 (n, width), *not* normalised, of aligned faces (112, 112, 3), uint8 RGB; n at least 1."""
        ...
