"""Fingerprints of a clip that survive another encoding, a crop, a mirror and another speed.

Sixteen moments, evenly spread over the clip, are each described twice: the whole picture, and the window around the
person's trunk. The second does not change when the picture is cropped, padded or scaled, since the window moves with
the person. A description is the low frequencies (DCT) of a 48 x 48 picture, flattened, of length 1, as int8. In
a mirrored picture exactly the odd horizontal frequencies change sign.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.audit.sides import SEEN
from pipelines.shard_format import Sample

VERSION = "1"
"""Changes when the same video gives other descriptions."""

SAMPLES = 16
SIDE, LOW = 48, 16
LENGTH = LOW * LOW - 1
# Half the side of the window around the trunk, in lengths of the trunk (middle of the shoulders to that of the hips).
REACH = 1.3
Codes = NDArray[np.int8]
_V, _U = np.divmod(np.arange(1, LOW * LOW), LOW)
# Pictures have about as much less energy as the frequency is higher.
_WHITEN = np.hypot(_U, _V).astype(np.float32)
MIRROR = np.where(_U % 2 == 1, -1, 1).astype(np.int8)


@dataclass(frozen=True)
class Fingerprints:
    """frame, person: int8 (SAMPLES, LENGTH), zero where there is nothing to describe. face: float16 (512,) or None.

    face is the mean of the unit vectors of the frames with a face, of length 1; its model is `face_model`.
    seconds: of the clip.
    """

    frame: Codes
    person: Codes
    face: NDArray[np.float16] | None
    face_model: str
    seconds: float

    @classmethod
    def of(cls, stack: NDArray[np.uint8], bars: tuple[int, int, int, int], sample: Sample) -> Fingerprints:
        """stack: the frames `sample_times` names, uint8 (N, H, W). bars: of `black_bars`."""
        top, bottom, left, right = bars
        height, width = stack.shape[1:]
        times = sample_times(len(sample.keypoints))
        at = {int(t): i for i, t in enumerate(sorted(set(times.tolist())))}
        frame, person = np.zeros((SAMPLES, LENGTH), np.int8), np.zeros((SAMPLES, LENGTH), np.int8)
        for place, time in enumerate(times.tolist()):
            grey = stack[at[time]]
            clear = grey[top : height - bottom, left : width - right]
            frame[place] = describe(cv2.resize(clear, (SIDE, SIDE), interpolation=cv2.INTER_AREA))
            window = trunk_window(sample.keypoints.points[time], sample.keypoints.scores[time])
            if window is not None:
                person[place] = describe(cut_window(grey, *window))
        face = _mean_face(sample)
        return cls(frame, person, face, sample.face.model if face is not None else "none",
                   float(len(sample.keypoints) / sample.fps))  # fmt: skip


def sample_times(frames: int) -> NDArray[np.int64]:
    """(SAMPLES,) frame numbers in the middles of equal parts of the clip; they repeat in very short ones."""
    return ((np.arange(SAMPLES) + 0.5) * frames / SAMPLES).astype(np.int64)


def trunk_window(points: NDArray[np.float32], scores: NDArray[np.float32]) -> tuple[float, float, float] | None:
    """Centre x, y and half side, pixels, of the window around the trunk; None where it is not seen."""
    if min(scores[[5, 6, 11, 12]]) <= SEEN:
        return None
    shoulders, hips = points[[5, 6]].mean(0), points[[11, 12]].mean(0)
    length = float(np.linalg.norm(shoulders - hips))
    if not 4 <= length <= 1e5:
        return None
    x, y = ((shoulders + hips) / 2).tolist()
    return x, y, REACH * length


def cut_window(grey: NDArray[np.uint8], x: float, y: float, reach: float) -> NDArray[np.uint8]:
    """The square window as uint8 (SIDE, SIDE); beyond the picture its border is repeated."""
    scale = SIDE / (2 * reach)
    if scale < 0.7:
        # Shrinking by interpolation would skip pixels: soften first, on the part that is needed.
        x0, y0 = max(0, int(x - 2 * reach)), max(0, int(y - 2 * reach))
        part = grey[y0 : max(y0 + 2, int(y + 2 * reach)), x0 : max(x0 + 2, int(x + 2 * reach))]
        if part.shape[0] < 2 or part.shape[1] < 2:
            return np.zeros((SIDE, SIDE), np.uint8)
        grey, x, y = np.asarray(cv2.GaussianBlur(part, (0, 0), 0.45 / scale), np.uint8), x - x0, y - y0
    matrix = np.array([[scale, 0, SIDE / 2 - scale * x], [0, scale, SIDE / 2 - scale * y]])
    # Pixel centres are at halves on both sides.
    matrix[:, 2] += 0.5 * scale - 0.5
    cut = cv2.warpAffine(grey, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cut, np.uint8)


def describe(small: NDArray[np.uint8] | cv2.typing.MatLike) -> Codes:
    """int8 (LENGTH,) of a picture (SIDE, SIDE); zero for one without any contrast."""
    spectrum = cv2.dct(np.asarray(small, np.float32))[:LOW, :LOW].ravel()[1:] * _WHITEN
    if float(np.linalg.norm(spectrum)) < SIDE:
        return np.zeros(LENGTH, np.int8)
    # The root keeps a few strong edges (a wall, a floor) from being all that counts.
    flat = np.sign(spectrum) * np.sqrt(np.abs(spectrum))
    return np.rint(np.clip(flat / np.linalg.norm(flat) * 500, -127, 127)).astype(np.int8)


def _mean_face(sample: Sample) -> NDArray[np.float16] | None:
    if not sample.face.valid.any():
        return None
    vectors = sample.face.embeddings[sample.face.valid].astype(np.float32)
    mean = (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)).mean(0)
    length = np.linalg.norm(mean)
    return (mean / length).astype(np.float16) if length > 1e-3 else None
