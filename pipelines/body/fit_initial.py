"""Joint rotations straight from BlazePose's world landmarks: where the fit starts.

Every bone's direction is known in camera axes, so every joint's rotation follows from its parent's by elementary
geometry. Nothing is iterated; all frames are done at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from pipelines.body.priors import NATURAL_POSE

Array = NDArray[np.float64]

# BlazePose's 33 landmarks.
NOSE, EYES, EARS, MOUTH = 0, (2, 5), (7, 8), (9, 10)
SHOULDERS, ELBOWS, WRISTS, PINKIES, INDICES = (11, 12), (13, 14), (15, 16), (17, 18), (19, 20)
HIPS, KNEES, ANKLES, HEELS, TOES = (23, 24), (25, 26), (27, 28), (29, 30), (31, 32)

# The head's rigid points: BlazePose's landmark and smplx's point.
_HEAD = ((NOSE, 55), (2, 57), (5, 56), (7, 59), (8, 58), (9, 113), (10, 107))

# A stretched limb does not tell how it is turned about itself: below the first angle the turn is taken from the parent,
# above the second from the bend. Radians.
_BEND = np.deg2rad((12.0, 35.0))


@dataclass(frozen=True)
class Start:
    """root: (T, 3, 3) world rotations of the pelvis. pose: (T, 55, 3) axis-angle; pose[:, 0] is zero. seen: (T,)."""

    root: Array
    pose: Array
    seen: NDArray[np.bool_]


def initial_pose(world: Array, rest: Array) -> Start:
    """Rotations from landmarks.

    world: (T, 33, 3), metres, camera axes, NaN where unseen. rest: (144, 3), the unposed body in smplx's order.
    A joint that is unseen in some frames is interpolated in time; one that is never seen keeps the natural pose.
    """
    frames = len(world)
    pose = np.tile(NATURAL_POSE.astype(np.float64), (frames, 1, 1))
    up = _middle(world, SHOULDERS) - _middle(world, HIPS)
    up_rest = rest[[16, 17]].mean(0) - rest[[1, 2]].mean(0)
    straight = np.where(np.isfinite(up).all(-1, keepdims=True), up, [0.0, -1.0, 0.0])
    chest = _frame(_across(world, SHOULDERS), straight) @ _frame(rest[16] - rest[17], up_rest).T
    hips = _frame(_across(world, HIPS), straight) @ _frame(rest[1] - rest[2], up_rest).T
    seen = _finite(chest) | _finite(hips)
    root = _fill(np.where(_finite(hips)[:, None, None], hips, chest), np.diag([1.0, -1.0, -1.0]))
    chest = np.where(_finite(chest)[:, None, None], chest, root)
    twist = _vectors(_transposed(root) @ chest)
    pose[:, [3, 6, 9]] = (twist / 3)[:, None]

    head = _kabsch(world[:, [a for a, _ in _HEAD]], rest[[b for _, b in _HEAD]])
    nod = _fill_vectors(_clamped(_vectors(_transposed(chest) @ head), np.deg2rad(85)), NATURAL_POSE[12])
    pose[:, [12, 15]] = (nod / 2)[:, None]

    for side, sign in ((0, 1.0), (1, -1.0)):
        shoulder, elbow, wrist = 16 + side, 18 + side, 20 + side
        points = [world[:, k[side]] for k in (SHOULDERS, ELBOWS, WRISTS)]
        axis = np.array([0.0, -sign, 0.0])
        upper, bend, turned = _limb(chest, points, rest[[shoulder, elbow, wrist]], axis)
        pose[:, shoulder] = _fill_vectors(upper, NATURAL_POSE[shoulder])
        pose[:, elbow] = _fill_vectors(bend, NATURAL_POSE[elbow])
        index, pinky = (world[:, k[side]] - points[2] for k in (INDICES, PINKIES))
        first = 25 + 15 * side
        index_rest, pinky_rest = rest[first] - rest[wrist], rest[first + 6] - rest[wrist]
        hand = _frame(index + pinky, index - pinky) @ _frame(index_rest + pinky_rest, index_rest - pinky_rest).T
        pose[:, wrist] = _fill_vectors(_clamped(_vectors(_transposed(turned) @ hand), np.deg2rad(70)), np.zeros(3))

        hip, knee, ankle = 1 + side, 4 + side, 7 + side
        points = [world[:, k[side]] for k in (HIPS, KNEES, ANKLES)]
        thigh, bend, turned = _limb(root, points, rest[[hip, knee, ankle]], np.array([1.0, 0.0, 0.0]))
        pose[:, hip] = _fill_vectors(thigh, NATURAL_POSE[hip])
        pose[:, knee] = _fill_vectors(bend, NATURAL_POSE[knee])
        foot_rest = rest[[60 + 3 * side, 61 + 3 * side]].mean(0) - rest[62 + 3 * side]
        foot = _transposed(turned) @ (world[:, TOES[side]] - world[:, HEELS[side]])[..., None]
        tilt = _vectors(_shortest(np.broadcast_to(foot_rest, (frames, 3)), foot[..., 0]))
        pose[:, ankle] = _fill_vectors(_clamped(tilt, np.deg2rad(40)), NATURAL_POSE[ankle])
    pose[:, 0] = 0
    return Start(root, pose, seen)


def _limb(parent: Array, points: list[Array], rest: Array, axis: Array) -> tuple[Array, Array, Array]:
    """A ball joint and a hinge: local rotations (T, 3) of both, and the world rotation (T, 3, 3) after the hinge.

    parent: (T, 3, 3) world rotation above. points: three (T, 3). rest: (3, 3). axis: the hinge's, in the rest frame.
    """
    first, second = _unit(points[1] - points[0]), _unit(points[2] - points[1])
    first_rest, second_rest = _unit(rest[1] - rest[0]), _unit(rest[2] - rest[1])
    axis = _unit(axis - first_rest * (axis @ first_rest))
    least = _shortest((parent @ first_rest), first) @ parent
    with np.errstate(invalid="ignore"):
        bend = np.arccos(np.clip((first * second).sum(-1), -1, 1))
    side = _unit(second - first * (first * second).sum(-1, keepdims=True))
    full = _columns(first, side, np.cross(first, side)) @ _columns(first_rest, np.cross(axis, first_rest), axis).T
    turn = _vectors(full @ _transposed(least))
    share = np.nan_to_num(np.clip((bend - _BEND[0]) / (_BEND[1] - _BEND[0]), 0, 1))
    upper = _matrices(np.nan_to_num(turn) * share[:, None]) @ least
    rest_bend = np.arctan2(np.cross(first_rest, second_rest) @ axis, first_rest @ second_rest)
    hinge = axis * (bend - rest_bend)[:, None]
    local = _vectors(_transposed(parent) @ upper)
    upper = np.where(_finite(upper)[:, None, None], upper, parent)
    return local, hinge, upper @ _matrices(np.nan_to_num(hinge))


def _kabsch(points: Array, rest: Array) -> Array:
    """The rotation (T, 3, 3) that brings rest (N, 3) onto points (T, N, 3); NaN with fewer than three finite points."""
    good = np.asarray(np.isfinite(points).all(-1))
    count = good.sum(-1)
    weight = good / np.maximum(count, 1)[:, None]
    filled = np.where(good[..., None], points, 0)
    a = filled - np.einsum("tn,tnk->tk", weight, filled)[:, None]
    b = rest - np.einsum("tn,nk->tk", weight, rest)[:, None]
    u, _, v = np.linalg.svd(np.einsum("tn,tni,tnj->tij", weight, a, b))
    flip = np.stack([np.ones(len(u)), np.ones(len(u)), np.linalg.det(u @ v)], -1)
    return np.where((count >= 3)[:, None, None], (u * flip[:, None]) @ v, np.nan)


def _unit(vectors: Array) -> Array:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def _columns(x: Array, y: Array, z: Array) -> Array:
    return np.stack([x, y, z], -1)


def _frame(x: Array, y: Array) -> Array:
    """Rotations (..., 3, 3) whose first column is x and whose second lies in the plane of x and y."""
    x = _unit(x)
    z = _unit(np.cross(x, y))
    return _columns(x, np.cross(z, x), z)


def _shortest(source: Array, target: Array) -> Array:
    """The smallest rotations (T, 3, 3) that bring the directions of source (T, 3) onto target's."""
    source, target = _unit(source), _unit(target)
    axis = np.cross(source, target)
    angle = np.arctan2(np.linalg.norm(axis, axis=-1), (source * target).sum(-1))
    return _matrices(_unit(axis) * angle[:, None])


def _matrices(vectors: Array) -> Array:
    good = np.asarray(np.isfinite(vectors).all(-1))
    matrices = Rotation.from_rotvec(np.where(good[:, None], vectors, 0)).as_matrix()
    return np.where(good[:, None, None], matrices, np.nan)


def _vectors(matrices: Array) -> Array:
    good = _finite(matrices)
    vectors = Rotation.from_matrix(np.where(good[:, None, None], matrices, np.eye(3))).as_rotvec()
    return np.where(good[:, None], vectors, np.nan)


def _clamped(vectors: Array, most: float) -> Array:
    return _unit(vectors) * np.minimum(np.linalg.norm(vectors, axis=-1, keepdims=True), most)


def _transposed(matrices: Array) -> Array:
    return np.swapaxes(matrices, -1, -2)


def _finite(matrices: Array) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(matrices).all((-1, -2)))


def _across(world: Array, pair: tuple[int, int]) -> Array:
    return world[:, pair[0]] - world[:, pair[1]]


def _middle(world: Array, pair: tuple[int, int]) -> Array:
    return (world[:, pair[0]] + world[:, pair[1]]) / 2


def _fill(matrices: Array, default: Array) -> Array:
    """Rotations in every frame: interpolated between the frames that have one, held at the ends."""
    good = np.flatnonzero(_finite(matrices))
    if not len(good):
        return np.broadcast_to(default, matrices.shape).copy()
    if len(good) == 1:
        return np.broadcast_to(matrices[good[0]], matrices.shape).copy()
    at = np.clip(np.arange(len(matrices)), good[0], good[-1])
    return Slerp(good, Rotation.from_matrix(matrices[good]))(at).as_matrix()


def _fill_vectors(vectors: Array, default: Array) -> Array:
    return Rotation.from_matrix(_fill(_matrices(vectors), Rotation.from_rotvec(default).as_matrix())).as_rotvec()
