"""Pose blend shapes that keep limbs from collapsing where they bend.

Linear blend skinning averages positions, so a ring of skin that is half on each side of a bend by angle a shrinks by up
to cos(a / 2). Skinning about optimised centres of rotation (Le and Hodgins, SIGGRAPH 2016) averages rotations instead
and keeps the ring's size. For every joint, that motion is sampled and the difference to linear blend skinning, taken
back to the rest pose, is fitted by SMPL-X's own pose features (the entries of R - I), so that `posedirs` reproduces it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import mirror, tree

Array = NDArray[np.float64]
Index = NDArray[np.int64]

FEATURES = 9 * 54


@dataclass(frozen=True)
class Range:
    """How far a joint turns (of a pair, the left one): lowest and highest degrees about each axis of the rest pose."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]


_FINGER = Range((-5, -20, -100), (5, 20, 20))
RANGES: dict[str, Range] = {
    "left_hip": Range((-125, -40, -30), (40, 40, 60)),
    "left_knee": Range((0, -15, -8), (140, 15, 8)),
    "left_ankle": Range((-30, -25, -25), (45, 25, 25)),
    "spine1": Range((-20, -25, -20), (40, 25, 20)),
    "spine2": Range((-20, -25, -20), (40, 25, 20)),
    "spine3": Range((-20, -25, -20), (40, 25, 20)),
    "neck": Range((-35, -45, -30), (40, 45, 30)),
    "head": Range((-35, -45, -30), (40, 45, 30)),
    "left_collar": Range((-15, -30, -25), (15, 25, 40)),
    "left_shoulder": Range((-70, -110, -95), (70, 45, 80)),
    "left_elbow": Range((-45, -140, -8), (45, 5, 8)),
    "left_wrist": Range((-60, -35, -75), (60, 35, 75)),
    **{f"left_{finger}{k}": _FINGER for finger in ("index", "middle", "ring", "pinky") for k in (1, 2, 3)},
    **{f"left_thumb{k}": Range((-40, -50, -30), (40, 50, 30)) for k in (1, 2, 3)},
}

_SAMPLES = 240
_MARGIN = 0.01
_RIDGE = 0.02
_BINS = 60


def pose_directions(rest: Array, joints: Array, weights: Array, faces: Index, pair: Index) -> Array:
    """(V, 3, 486) metres per unit of pose feature; symmetric, zero away from the joints of RANGES.

    rest: (V, 3) template. joints: (55, 3) its joints. weights: (V, 55). pair: the mirror image of each vertex.
    """
    out = np.zeros((len(rest), 3, FEATURES))
    area = _vertex_areas(rest, faces)
    signs = np.outer(mirror.FLIP, mirror.FLIP).reshape(9)
    opposite = tree.mirror_joint()
    for name, span in RANGES.items():
        joint = tree.JOINT_NAMES.index(name)
        block = _fit_joint(rest, joints[joint], weights[:, _subtree(joint)].sum(axis=1), area, span)
        other = block[pair] * mirror.FLIP[:, None] * signs
        if opposite[joint] == joint:
            block = (block + other) / 2
        else:
            out[..., _columns(opposite[joint])] = other
        out[..., _columns(joint)] = block
    return out


def _columns(joint: int) -> slice:
    return slice(9 * (joint - 1), 9 * joint)


def _subtree(joint: int) -> list[int]:
    inside = {joint}
    for child, parent in enumerate(tree.PARENTS):
        if parent in inside:
            inside.add(child)
    return sorted(inside)


def _vertex_areas(rest: Array, faces: Index) -> Array:
    a, b, c = (rest[faces[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 6
    total = np.zeros(len(rest))
    for i in range(3):
        np.add.at(total, faces[:, i], area)
    return total


def _fit_joint(rest: Array, pivot: Array, share: Array, area: Array, span: Range) -> Array:
    """(V, 3, 9) for one joint; share: (V,) how much of each vertex the joint and all below it move."""
    out = np.zeros((len(rest), 3, 9))
    mixed = np.flatnonzero((share > _MARGIN) & (share < 1 - _MARGIN))
    skin, part = rest[mixed] - pivot, share[mixed]
    centre = _centres(skin, part, area[mixed])
    turns = _sample_turns(span)
    features = (turns - np.eye(3)).reshape(len(turns), 9)
    wanted = np.stack([_restoring_offset(skin, centre, part, turn) for turn in turns])
    gram = features.T @ features / len(turns)
    ridge = _RIDGE * np.trace(gram) / 9 * np.eye(9)
    solution = np.linalg.solve(gram + ridge, features.T @ wanted.reshape(len(turns), -1) / len(turns))
    out[mixed] = solution.reshape(9, len(mixed), 3).transpose(1, 2, 0)
    return out


def _centres(skin: Array, part: Array, area: Array) -> Array:
    """The centre of rotation of each vertex: the middle of the skin that is shared between the bones as it is."""
    levels = np.linspace(0, 1, _BINS + 1)
    closeness = np.exp(-(((levels[:, None] - part) / 0.06) ** 2)) * area
    curve = closeness @ skin / closeness.sum(axis=1, keepdims=True)
    return np.stack([np.interp(part, levels, curve[:, k]) for k in range(3)], axis=1)


def _sample_turns(span: Range) -> Array:
    """Rotations (n, 3, 3) within the range: its middle lines and random ones inside."""
    rng = np.random.default_rng(0)
    low, high = np.radians(span.low), np.radians(span.high)
    vectors = rng.uniform(low, high, (_SAMPLES, 3))
    # Most motion is about one axis at a time: half of the samples have the other two small.
    vectors[: _SAMPLES // 2] *= 0.2 + 0.8 * np.eye(3)[rng.integers(0, 3, _SAMPLES // 2)]
    return np.stack([_matrix(v) for v in vectors])


def _matrix(vector: Array) -> Array:
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def _restoring_offset(skin: Array, centre: Array, part: Array, turn: Array) -> Array:
    """(K, 3) to add to the rest pose so that linear blend skinning by `turn` about the origin keeps its size."""
    angle = float(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
    axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    axis /= np.linalg.norm(axis) + 1e-12
    # The normalised mean of two quaternions turns by this much about the same axis.
    half = np.arctan2(part * np.sin(angle / 2), 1 - part + part * np.cos(angle / 2))
    arm = skin - centre
    c, s = np.cos(2 * half)[:, None], np.sin(2 * half)[:, None]
    turned = c * arm + s * np.cross(axis, arm) + (1 - c) * (arm @ axis)[:, None] * axis
    blended = (1 - part)[:, None, None] * np.eye(3) + part[:, None, None] * turn
    difference = turned - np.einsum("vij,vj->vi", blended, arm)
    return np.linalg.solve(blended, difference[..., None])[..., 0]
