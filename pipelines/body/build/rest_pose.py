"""Anny's relaxed A-pose to the rest pose of SMPL-X: a T with palms down, so that poses mean the same in both files."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Raising an arm from the side to the horizontal lifts the collar bone as well.
COLLAR_LIFT = np.radians(12.0)
THIGH = np.array([0.03, -1.0, 0.0])
SHIN = np.array([0.0, -1.0, -0.05])
TOE_OUT = np.radians(8.0)


def _unit(v: Array) -> Array:
    return v / np.linalg.norm(v)


def _rotation(axis: Array, angle: float) -> Array:
    """Rodrigues' formula; axis of unit length."""
    k = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def _between(a: Array, b: Array) -> Array:
    """The smallest rotation that takes direction a to direction b."""
    a, b = _unit(a), _unit(b)
    axis = np.cross(a, b)
    sine = np.linalg.norm(axis)
    return np.eye(3) if sine < 1e-12 else _rotation(axis / sine, float(np.arctan2(sine, a @ b)))


def _to_axes(along: Array, up: Array) -> Array:
    """The rotation that takes `along` to +x and `up` (made orthogonal) to +y."""
    x = _unit(along)
    z = _unit(np.cross(x, up))
    return np.stack([x, np.cross(z, x), z])


def _left_side(heads: dict[str, Array], tails: dict[str, Array]) -> dict[str, Array]:
    """World rotation of the bones of the left limbs; the other bones follow their parents."""
    turn: dict[str, Array] = {}
    turn["clavicle"] = _rotation(np.array([0.0, 0.0, 1.0]), COLLAR_LIFT)

    upper = heads["lowerarm01"] - heads["upperarm01"]
    fore = heads["wrist"] - heads["lowerarm01"]
    # The elbow bends in a plane; it becomes the horizontal one, with the forearm coming to the front.
    bend = -np.cross(upper, fore)
    turn["upperarm01"] = _to_axes(upper, bend)
    turn["lowerarm01"] = _to_axes(fore, bend)
    hand = heads["finger3-1"] - heads["wrist"]
    back = np.cross(heads["finger2-1"] - heads["finger5-1"], hand)
    turn["wrist"] = _to_axes(hand, back)
    twist = turn["wrist"] @ turn["lowerarm01"].T
    about_x = float(np.arctan2(twist[2, 1] - twist[1, 2], twist[1, 1] + twist[2, 2]))
    turn["lowerarm02"] = _rotation(np.array([1.0, 0.0, 0.0]), about_x / 2) @ turn["lowerarm01"]
    for finger in (2, 3, 4, 5):
        ends = [heads[f"finger{finger}-{k}"] for k in (1, 2, 3)] + [tails[f"finger{finger}-3"]]
        flat = turn["wrist"] @ (ends[1] - ends[0])
        flat = np.array([flat[0], 0.0, flat[2]])
        for k in (1, 2, 3):
            now = turn["wrist"] @ (ends[k] - ends[k - 1])
            turn[f"finger{finger}-{k}"] = _between(now, flat) @ turn["wrist"]

    turn["upperleg01"] = _between(heads["lowerleg01"] - heads["upperleg01"], THIGH)
    turn["lowerleg01"] = _between(heads["foot"] - heads["lowerleg01"], SHIN)
    toes = np.mean([heads[f"toe{k}-1"] for k in (1, 2, 3)], axis=0) - heads["foot"]
    # Only about the vertical, so that the soles stay on the ground.
    turn["foot"] = _rotation(np.array([0.0, 1.0, 0.0]), TOE_OUT - float(np.arctan2(toes[0], toes[2])))
    return turn


def world_rotations(heads: Array, tails: Array, bones: list[str], parents: NDArray[np.int64]) -> Array:
    """(B, 3, 3) world rotation of each bone, from one body's heads and tails (B, 3)."""
    flip = np.diag([-1.0, 1.0, 1.0])
    named: dict[str, Array] = {}
    for side, mirror in ((".L", np.eye(3)), (".R", flip)):
        of = {b[:-2]: i for i, b in enumerate(bones) if b.endswith(side)}
        turn = _left_side({b: mirror @ heads[i] for b, i in of.items()}, {b: mirror @ tails[i] for b, i in of.items()})
        named.update({b + side: mirror @ r @ mirror for b, r in turn.items()})
    out = np.empty((len(bones), 3, 3))
    for i, bone in enumerate(bones):
        parent = np.eye(3) if parents[i] < 0 else out[parents[i]]
        out[i] = named.get(bone, parent)
    return out


def to_rest_pose(
    vertices: Array, heads: Array, tails: Array, weights: Array, bones: list[str], parents: NDArray[np.int64]
) -> tuple[Array, Array, Array]:
    """Pose one body (V, 3) with its bone heads and tails (B, 3) into the rest pose by linear blend skinning.

    Returns (vertices, heads, tails). Bones come parent first.
    """
    rotation = world_rotations(heads, tails, bones, parents)
    moved = heads.copy()
    for i, parent in enumerate(parents):
        if parent >= 0:
            moved[i] = moved[parent] + rotation[parent] @ (heads[i] - heads[parent])
    shift = moved - np.einsum("bij,bj->bi", rotation, heads)
    blended = (weights @ rotation.reshape(len(bones), 9)).reshape(-1, 3, 3)
    posed = np.einsum("vij,vj->vi", blended, vertices) + weights @ shift
    return posed, moved, np.einsum("bij,bj->bi", rotation, tails) + shift
