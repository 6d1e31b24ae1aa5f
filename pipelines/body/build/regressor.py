"""J_regressor: joints as weighted means of nearby vertices, right for every body shape.

Anny's joints do not follow the skin alone (its spine moves in the body by centimetres with sex), so means with weights
of one sign miss some by up to 20 mm. They are the starting point; small weights of either sign take up the rest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from .tree import mirror_joint

Array = NDArray[np.float64]

# How strongly the weights of a joint are held to the sum 1, in metres.
SUM_WEIGHT = 30.0
# What a weight away from the non-negative solution costs, in metres.
RIDGE = 2e-3
DIRECTIONS = 120
PER_DIRECTION = 3


def fit_regressor(
    vertices: Array,
    joints: Array,
    weights: Array,
    parents: tuple[int, ...],
    pair: NDArray[np.int64],
    still: NDArray[np.bool_],
) -> Array:
    """Least squares over sampled bodies, one joint at a time, from vertices that the joint moves.

    vertices: (N, V, 3), joints: (N, J, 3), weights: (V, J) skin weights. still: (V,) vertices that no expression moves:
    a smile must not move a joint. Returns (J, V): rows sum to 1, have a few hundred entries and mirror each other.
    """
    mean = vertices.mean(axis=0)
    opposite = mirror_joint()
    rows = np.zeros((joints.shape[1], mean.shape[0]))
    for joint in range(joints.shape[1]):
        if opposite[joint] < joint:
            rows[joint, pair] = rows[opposite[joint]]
            continue
        near = _candidates(joint, mean, joints[:, joint].mean(axis=0), weights, parents, still)
        row = np.zeros(mean.shape[0])
        row[near] = _solve(vertices[:, near], joints[:, joint])
        if opposite[joint] == joint:
            row = (row + row[pair]) / 2
        rows[joint] = row / row.sum()
    return rows


def _solve(surface: Array, joint: Array) -> Array:
    """Weights (K,) with surface (N, K, 3) to the joint (N, 3)."""
    count = surface.shape[1]
    system = np.concatenate([surface.transpose(0, 2, 1).reshape(-1, count), np.full((1, count), SUM_WEIGHT)])
    start = nnls(system, np.append(joint.reshape(-1), SUM_WEIGHT))[0]
    left = np.append(joint.reshape(-1), SUM_WEIGHT) - system @ start
    normal = system.T @ system + RIDGE**2 * len(surface) * np.eye(count)
    return start + np.linalg.solve(normal, system.T @ left)


def _candidates(
    joint: int, mean: Array, at: Array, weights: Array, parents: tuple[int, ...], still: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Vertices all around the joint that it, its parent or its children move: in each direction the nearest."""
    family = [joint] + [c for c, p in enumerate(parents) if p == joint]
    if parents[joint] >= 0:
        family.append(parents[joint])
    moved = np.flatnonzero(still & (weights[:, family].sum(axis=1) > 0.3))
    offset = mean[moved] - at
    distance = np.linalg.norm(offset, axis=1)
    chosen = set()
    for direction in _directions(DIRECTIONS):
        off_axis = np.arccos(np.clip(offset @ direction / (distance + 1e-9), -1, 1))
        cost = distance * (1 + 4 * off_axis**2)
        chosen.update(moved[np.argsort(cost, kind="stable")[:PER_DIRECTION]].tolist())
    return np.array(sorted(chosen))


def _directions(count: int) -> Array:
    """Evenly spread unit vectors (a Fibonacci sphere)."""
    i = np.arange(count) + 0.5
    height, turn = 1 - 2 * i / count, np.pi * (1 + 5**0.5) * i
    ring = np.sqrt(1 - height**2)
    return np.stack([ring * np.cos(turn), height, ring * np.sin(turn)], axis=1)
