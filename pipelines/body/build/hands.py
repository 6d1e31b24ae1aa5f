"""The relaxed hand and the hand pose space: flexion, spread and thumb, as hands move."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Order of a hand in SMPL-X: index, middle, pinky, ring, thumb; three joints each.
_FINGERS = ("index", "middle", "pinky", "ring")
# Flexion of a relaxed hand at the knuckle, middle and end joint, radians.
_RELAXED = {
    "index": (0.25, 0.35, 0.20),
    "middle": (0.32, 0.42, 0.25),
    "ring": (0.38, 0.48, 0.28),
    "pinky": (0.40, 0.45, 0.28),
}
_SPREAD = {"index": 1.0, "middle": 0.25, "ring": -0.5, "pinky": -1.0}
_SAMPLES = 4000


def _left_pose(flexion: dict[str, Array], spread: Array, thumb_bend: Array, thumb_axis: Array, opposition: Array) -> Array:
    """(N, 15, 3) axis-angle of left hands lying palm down with the fingers along +x.

    Flexion turns about -z. Spread turns the index towards the thumb (+z), that is about -y.
    """
    count = len(spread)
    pose = np.zeros((count, 15, 3))
    for f, finger in enumerate(_FINGERS):
        pose[:, 3 * f : 3 * f + 3, 2] = -flexion[finger]
        pose[:, 3 * f, 1] = -spread * _SPREAD[finger]
    pose[:, 12:15] = thumb_bend[:, :, None] * thumb_axis
    pose[:, 12, 0] += opposition
    return pose


def hand_space(thumb_direction: Array) -> tuple[Array, Array]:
    """(mean (45,), components (45, 45) orthonormal rows, largest variance first) of the left hand.

    thumb_direction: (3,) the direction of the left thumb in the rest pose. The space is the principal components of
    hands drawn from a rule: one grip drives all fingers, each finger adds its own part, end joints follow middle joints.
    """
    rng = np.random.default_rng(0)
    # The thumb bends across the palm: towards the little finger and down.
    axis = np.cross(thumb_direction / np.linalg.norm(thumb_direction), np.array([0.0, -0.35, -1.0]))
    axis /= np.linalg.norm(axis)
    grip = rng.normal(0, 0.45, _SAMPLES)
    flexion = {}
    for finger in _FINGERS:
        knuckle = _RELAXED[finger][0] + grip * 0.8 + rng.normal(0, 0.30, _SAMPLES)
        middle = _RELAXED[finger][1] + grip + rng.normal(0, 0.25, _SAMPLES)
        end = _RELAXED[finger][2] + 0.6 * (middle - _RELAXED[finger][1]) + rng.normal(0, 0.08, _SAMPLES)
        flexion[finger] = np.stack([knuckle, middle, end], axis=1)
    spread = rng.normal(0, 0.15, _SAMPLES)
    bend = np.stack([0.1 + 0.3 * grip, 0.15 + 0.5 * grip, 0.2 + 0.5 * grip], axis=1) + rng.normal(0, 0.2, (_SAMPLES, 3))
    opposition = rng.normal(0, 0.2, _SAMPLES)
    poses = _left_pose(flexion, spread, bend, axis, opposition).reshape(_SAMPLES, 45)
    mean = _left_pose(
        {f: np.array([_RELAXED[f]]) for f in _FINGERS}, np.zeros(1), np.array([[0.1, 0.15, 0.2]]), axis, np.zeros(1)
    ).reshape(45)
    # Directions the rule never uses get a small variance, so that the basis is complete.
    covariance = np.cov((poses - mean).T) + 1e-4 * np.eye(45)
    values, vectors = np.linalg.eigh(covariance)
    components = vectors[:, np.argsort(-values, kind="stable")].T
    largest = np.abs(components).argmax(axis=1)
    components *= np.sign(components[np.arange(45), largest])[:, None]
    return mean, components


def mirror_pose(pose: Array) -> Array:
    """The same pose for the other hand: axis-angle (..., 45) with y and z negated."""
    return (pose.reshape(*pose.shape[:-1], 15, 3) * np.array([1.0, -1.0, -1.0])).reshape(pose.shape)
