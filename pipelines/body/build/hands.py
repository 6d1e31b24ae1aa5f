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
# Bends of the relaxed thumb's three joints and its roll, radians.
_THUMB = (0.1, 0.15, 0.2, 0.0)
_SPREAD = {"index": 1.0, "middle": 0.25, "ring": -0.5, "pinky": -1.0}
_SAMPLES = 4000


def _left_pose(flexion: dict[str, Array], spread: Array, thumb: Array, axes: dict[str, Array]) -> Array:
    """(N, 15, 3) axis-angle of left hands.

    flexion: (N, 3) radians by finger; spread (N,); thumb: (N, 4), the bends of its three joints and its roll.
    """
    pose = np.zeros((len(spread), 15, 3))
    for f, finger in enumerate(_FINGERS):
        pose[:, 3 * f : 3 * f + 3] = flexion[finger][:, :, None] * axes[finger]
        # Spreading turns the index towards the thumb (+z), that is about -y.
        pose[:, 3 * f, 1] -= spread * _SPREAD[finger]
    pose[:, 12:15] = thumb[:, :3, None] * axes["thumb"]
    pose[:, 12, 0] += thumb[:, 3]
    return pose


def _bending_axes(directions: dict[str, Array]) -> dict[str, Array]:
    """The axis about which each finger bends: fingers down towards the palm, the thumb across it."""
    axes = {}
    for finger, direction in directions.items():
        target = np.array([0.0, -0.35, -1.0]) if finger == "thumb" else np.array([0.0, -1.0, 0.0])
        axis = np.cross(direction, target)
        axes[finger] = axis / np.linalg.norm(axis)
    return axes


def hand_space(directions: dict[str, Array]) -> tuple[Array, Array]:
    """(mean (45,), components (45, 45) orthonormal rows, largest variance first) of the left hand, palm down.

    directions: (3,) of each finger (index, middle, pinky, ring, thumb) in the rest pose. The space is the principal
    components of hands drawn from a rule: one grip drives all fingers, each finger adds its own part, end joints follow
    middle joints.
    """
    rng = np.random.default_rng(0)
    axes = _bending_axes(directions)
    grip = rng.normal(0, 0.45, _SAMPLES)
    flexion = {}
    for finger in _FINGERS:
        knuckle = _RELAXED[finger][0] + grip * 0.8 + rng.normal(0, 0.30, _SAMPLES)
        middle = _RELAXED[finger][1] + grip + rng.normal(0, 0.25, _SAMPLES)
        end = _RELAXED[finger][2] + 0.6 * (middle - _RELAXED[finger][1]) + rng.normal(0, 0.08, _SAMPLES)
        flexion[finger] = np.stack([knuckle, middle, end], axis=1)
    spread = rng.normal(0, 0.15, _SAMPLES)
    thumb = np.array(_THUMB) + grip[:, None] * np.array([0.3, 0.5, 0.5, 0.0]) + rng.normal(0, 0.2, (_SAMPLES, 4))
    poses = _left_pose(flexion, spread, thumb, axes).reshape(_SAMPLES, 45)
    relaxed = {finger: np.array([_RELAXED[finger]]) for finger in _FINGERS}
    mean = _left_pose(relaxed, np.zeros(1), np.array([_THUMB]), axes).reshape(45)
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
