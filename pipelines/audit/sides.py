"""Has somebody's left become their right? Three witnesses that do not depend on each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.clip import Floats

SEEN = 0.3
# (left, right) of the 17 body points; a limb may be swapped alone.
ARMS = ((5, 6), (7, 8), (9, 10))
LEGS = ((11, 12), (13, 14), (15, 16))
# Points of the 68 on the person's right and left eye, counted from the first of the 133.
_RIGHT_EYE, _LEFT_EYE = slice(59, 65), slice(65, 71)
# How much better, in box heights a pair, the exchanged reading must be to be believed.
MARGIN = 0.02
# How much wider than this, in box heights, shoulders and eyes must be in the picture to tell which side is which.
SHOULDERS_APART, EYES_APART = 0.06, 0.012


def swapped_share(points: Floats, scores: Floats, body: Floats | None, height: float) -> float:
    """Share of frames, 0 to 1, whose left and right are contradicted by a witness; the most that any of them says.

    points: (T, 133, 2) pixels; scores: (T, 133). body: (T, 17, 2), the body file's joints projected, NaN where there is
    no body; None when the body file is not here. height: of the person's box, pixels.
    """
    shares = [_by_time(points, scores, height), _by_face(points, scores, height)]
    if body is not None:
        shares.append(_by_body(points, scores, body, height))
    return max(shares)


def _by_body(points: Floats, scores: Floats, body: Floats, height: float) -> float:
    """The points fit the body better when they are exchanged."""
    wrong = np.zeros(len(points), bool)
    for limb in (ARMS, LEGS, ARMS + LEGS):
        kept, exchanged, pairs = _costs(points, scores, body, np.asarray(np.isfinite(body).all(-1)), limb)
        wrong |= (pairs >= 2) & (exchanged + MARGIN * height * pairs < kept) & (1.5 * exchanged < kept)
    return float(wrong.mean())


def _by_time(points: Floats, scores: Floats, height: float) -> float:
    """From a frame to the next the limbs change places; the smaller part of the clip is taken to be the wrong one."""
    most = 0.0
    for limb in (ARMS, LEGS):
        seen = np.asarray(scores[:-1, :17] > SEEN)
        kept, exchanged, pairs = _costs(points[1:], scores[1:], points[:-1, :17], seen, limb)
        flips = (pairs >= 2) & (exchanged + MARGIN * height * pairs < kept) & (2 * exchanged < kept)
        other = np.concatenate([[0], np.cumsum(flips) % 2])
        most = max(most, float(min(other.mean(), 1 - other.mean())))
    return most


def _by_face(points: Floats, scores: Floats, height: float) -> float:
    """The shoulders face away while the face looks here, or the named eyes are not those of the face's points."""
    right, left = points[:, _RIGHT_EYE].mean(1), points[:, _LEFT_EYE].mean(1)
    face_seen = np.minimum(scores[:, _RIGHT_EYE].min(1), scores[:, _LEFT_EYE].min(1)) > SEEN
    eyes = left[:, 0] - right[:, 0]
    shoulders = points[:, 5, 0] - points[:, 6, 0]
    told = face_seen & (np.abs(eyes) > EYES_APART * height)
    torso = told & (scores[:, [5, 6]].min(1) > SEEN) & (np.abs(shoulders) > SHOULDERS_APART * height)
    named = points[:, 1, 0] - points[:, 2, 0]
    eye_points = told & (scores[:, [1, 2]].min(1) > SEEN) & (np.abs(named) > EYES_APART * height)
    wrong = (torso & (shoulders * eyes < 0)) | (eye_points & (named * eyes < 0))
    return float(wrong.mean())


def _costs(
    points: Floats, scores: Floats, other: Floats, other_seen: NDArray[np.bool_], limb: tuple[tuple[int, int], ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """(T,) summed distances as named and exchanged, and how many pairs were compared."""
    left, right = (np.array(side) for side in zip(*limb))
    both = (scores[:, left] > SEEN) & (scores[:, right] > SEEN) & other_seen[:, left] & other_seen[:, right]

    def distance(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(np.linalg.norm(points[:, a] - other[:, b], axis=-1), np.float64)

    kept, exchanged = distance(left, left) + distance(right, right), distance(left, right) + distance(right, left)
    return np.where(both, kept, 0).sum(1), np.where(both, exchanged, 0).sum(1), both.sum(1)
