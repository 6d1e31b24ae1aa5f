"""J_regressor: joints as weighted means of nearby vertices, right for every body shape."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Array = NDArray[np.float64]

# How strongly the weights of a joint are held to the sum 1, in metres.
SUM_WEIGHT = 30.0
CANDIDATES = 260


def fit_regressor(
    vertices: Array,
    joints: Array,
    weights: Array,
    parents: tuple[int, ...],
    pair: NDArray[np.int64],
    joint_pair: NDArray[np.int64],
) -> Array:
    """Non-negative least squares over sampled bodies, one joint at a time, from vertices that the joint moves.

    vertices: (N, V, 3), joints: (N, J, 3), weights: (V, J) skin weights. Returns (J, V): rows are non-negative, sum to 1,
    a few dozen entries each, and mirror each other.
    """
    mean = vertices.mean(axis=0)
    rows = np.zeros((joints.shape[1], mean.shape[0]))
    for joint in range(joints.shape[1]):
        if joint_pair[joint] < joint:
            rows[joint, pair] = rows[joint_pair[joint]]
            continue
        near = _candidates(joint, mean, joints[:, joint].mean(axis=0), weights, parents)
        system = np.concatenate([vertices[:, near].transpose(0, 2, 1).reshape(-1, len(near)), _sum_row(len(near))])
        wanted = np.concatenate([joints[:, joint].reshape(-1), [SUM_WEIGHT]])
        row = np.zeros(mean.shape[0])
        row[near] = nnls(system, wanted)[0]
        if joint_pair[joint] == joint:
            row = (row + row[pair]) / 2
        rows[joint] = row / row.sum()
    return rows


def _sum_row(count: int) -> Array:
    return np.full((1, count), SUM_WEIGHT)


def _candidates(
    joint: int, mean: Array, at: Array, weights: Array, parents: tuple[int, ...]
) -> NDArray[np.int64]:
    """Vertices around the joint that it, its parent or its children move, evenly thinned to CANDIDATES."""
    family = [joint] + [c for c, p in enumerate(parents) if p == joint]
    if parents[joint] >= 0:
        family.append(parents[joint])
    moved = np.flatnonzero(weights[:, family].sum(axis=1) > 0.3)
    distance = np.linalg.norm(mean[moved] - at, axis=1)
    moved = moved[np.argsort(distance, kind="stable")]
    reach = 2.2 * np.sort(distance)[min(60, len(distance) - 1)]
    moved = moved[np.linalg.norm(mean[moved] - at, axis=1) < reach]
    return moved[np.linspace(0, len(moved) - 1, min(CANDIDATES, len(moved))).astype(np.int64)]
