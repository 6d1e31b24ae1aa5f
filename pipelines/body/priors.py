"""What a body can do and what it does when nobody tells: joint limits and a natural pose, from general anatomy.

All angles are components of a joint's axis-angle vector in SMPL-X's rest frame (T-pose, x to the person's left, y up, z
forward), in degrees here and in radians in the arrays. A component equals the anatomical angle for hinges and for
single-axis motions; for large combined motions it is an approximation: the fit treats limits as soft walls.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

JOINTS = 55

# Limits of the left side and of the middle: joint -> ((x low, high), (y low, high), (z low, high)), degrees.
_LIMITS: dict[int, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    1: ((-125, 35), (-45, 50), (-35, 70)),  # hip: -x lifts the thigh, +z spreads it outward, y turns it
    3: ((-20, 35), (-20, 20), (-20, 20)),  # spine1: +x bends forward, y twists, z bends sideways
    4: ((-3, 150), (-12, 12), (-8, 8)),  # knee: a hinge that only bends backward
    6: ((-15, 30), (-20, 20), (-15, 15)),  # spine2
    7: ((-30, 50), (-25, 25), (-25, 25)),  # ankle: +x points the toes down
    9: ((-12, 20), (-15, 15), (-12, 12)),  # spine3
    10: ((-40, 15), (-5, 5), (-5, 5)),  # toes
    12: ((-35, 35), (-45, 45), (-25, 25)),  # neck
    13: ((-12, 12), (-22, 15), (-12, 30)),  # collar: z shrugs, -y brings the shoulder forward
    15: ((-35, 35), (-45, 45), (-25, 25)),  # head
    16: ((-100, 90), (-130, 45), (-100, 95)),  # shoulder from the T-pose: z lifts, -y brings to the front, x twists
    18: ((-80, 80), (-152, 3), (-12, 12)),  # elbow: a hinge that only bends forward; x is half the forearm's turn
    20: ((-80, 80), (-35, 30), (-80, 80)),  # wrist: z bends, y tilts to thumb or little finger, x is the forearm's turn
    22: ((-3, 28), (-8, 8), (-4, 4)),  # jaw: +x opens
}
# Fingers: -z curls the left hand's into the palm. The outer fingers' hinges lean toward the thumb's side, which shows
# in x (index, middle, little, ring: the order of SMPL-X).
_FINGER_LEAN = ((-15, 25), (-25, 15), (-55, 10), (-40, 10))
_KNUCKLE_SPREAD, _KNUCKLE_CURL = (-20, 20), (-95, 25)
_FINGER_SPREAD, _FINGER_CURL = (-6, 6), (-108, 8)
_THUMB = (((-45, 60), (-60, 45), (-50, 45)), ((-35, 45), (-60, 35), (-50, 35)), ((-15, 25), (-85, 25), (-50, 25)))

# The right-hand twin of each joint; a mirrored rotation keeps x and turns y and z round.
_TWINS = {1: 2, 4: 5, 7: 8, 10: 11, 13: 14, 16: 17, 18: 19, 20: 21} | {25 + k: 40 + k for k in range(15)}


def _limits() -> NDArray[np.float32]:
    table = dict(_LIMITS)
    for finger in range(4):
        table[25 + 3 * finger] = (_FINGER_LEAN[finger], _KNUCKLE_SPREAD, _KNUCKLE_CURL)
        table[26 + 3 * finger] = table[27 + 3 * finger] = (_FINGER_LEAN[finger], _FINGER_SPREAD, _FINGER_CURL)
    table.update({37 + k: _THUMB[k] for k in range(3)})
    for left, right in _TWINS.items():
        x, y, z = table[left]
        table[right] = (x, (-y[1], -y[0]), (-z[1], -z[0]))
    limits = np.full((JOINTS, 3, 2), [-np.inf, np.inf], np.float32)
    limits[23:25] = 0
    for joint, ranges in table.items():
        limits[joint] = np.deg2rad(ranges)
    return limits


def _natural_pose() -> NDArray[np.float32]:
    """Standing at ease: arms hanging beside the body, elbows a little bent, the rest as in the file's rest pose."""
    pose = np.zeros((JOINTS, 3), np.float32)
    pose[16], pose[17] = np.deg2rad([0, 0, -72]), np.deg2rad([0, 0, 72])
    pose[18], pose[19] = np.deg2rad([0, -12, 0]), np.deg2rad([0, 12, 0])
    return pose


def _stiffness() -> NDArray[np.float32]:
    """How strongly each component is held at the natural pose: 1 / (radians of one standard deviation) squared."""
    sigma = np.full((JOINTS, 3), 0.6, np.float32)
    sigma[[3, 6, 9]] = 0.15
    sigma[[12, 15]] = 0.3
    sigma[[13, 14]] = 0.12
    sigma[[1, 2]] = (0.5, 0.35, 0.5)
    sigma[[16, 17]] = (0.6, 0.9, 1.0)
    sigma[[4, 5]] = (0.4, 0.1, 0.1)
    sigma[[18, 19]] = (0.5, 1.2, 0.1)
    sigma[[20, 21]] = (0.6, 0.3, 0.5)
    sigma[[7, 8]] = 0.3
    sigma[[10, 11]] = 0.1
    sigma[22] = (0.15, 0.05, 0.05)
    sigma[25:] = (0.25, 0.15, 0.5)
    sigma[[37, 38, 39, 52, 53, 54]] = 0.3
    return (1 / sigma**2).astype(np.float32)


LIMITS: NDArray[np.float32] = _limits()
"""(55, 3, 2) radians, low and high; infinite for the root. A left joint and its right twin mirror each other."""

NATURAL_POSE: NDArray[np.float32] = _natural_pose()
"""(55, 3) radians: what unseen limbs do. Hands are zero here: their natural pose is the body file's mean hand."""

STIFFNESS: NDArray[np.float32] = _stiffness()
"""(55, 3), inverse squared radians."""
