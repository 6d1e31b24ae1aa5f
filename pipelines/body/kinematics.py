"""Differentiable forward kinematics of an SMPL-X body: its joints and the few surface points that key points name.

The mesh is never touched: of the 10475 vertices only about two hundred are skinned, so that a whole clip is posed in a
few milliseconds and can be optimised. The points come in the order of `smplx`'s own output: 55 joints, 21 vertex joints
(nose, eyes, ears, toes, heels, finger tips), 51 face landmarks and 17 points of the face contour.

Source: SMPL-X (Pavlakos et al., CVPR 2019); the tests hold these functions against the `smplx` package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipelines.body.model import Body, vertex_joint_ids
from pipelines.clip import BodySequence, Floats

JOINTS = 55
SHAPE_COLUMNS = 10
EXPRESSION_COLUMNS = 10
# A joint with a smaller share in a surface point does not move it.
_NO_MASS = 1e-6
# Metres per unit of pose feature; a blend shape that never reaches it moves nothing.
_NO_CORRECTIVE = 1e-6

# Where each group starts among all points.
VERTEX_POINTS = slice(JOINTS, JOINTS + 21)
LANDMARK_POINTS = slice(VERTEX_POINTS.stop, VERTEX_POINTS.stop + 51)
CONTOUR_POINTS = slice(LANDMARK_POINTS.stop, LANDMARK_POINTS.stop + 17)
POINTS = CONTOUR_POINTS.stop


def _hand(wrist: int, first: int, tips: int) -> list[int]:
    """The 21 hand points: wrist, then thumb, index, middle, ring, pinky from the palm outward."""
    thumb, index, middle, pinky, ring = first + 12, first, first + 3, first + 6, first + 9
    fingers = [[start, start + 1, start + 2, tips + k] for k, start in enumerate((thumb, index, middle, ring, pinky))]
    return [wrist, *(point for finger in fingers for point in finger)]


# The point that each of the 133 COCO-WholeBody key points names.
_BODY_POINTS = (55, 57, 56, 59, 58, 16, 17, 18, 19, 20, 21, 1, 2, 4, 5, 7, 8)
_FEET_POINTS = (60, 61, 62, 63, 64, 65)
WHOLEBODY = np.r_[_BODY_POINTS, _FEET_POINTS, CONTOUR_POINTS, LANDMARK_POINTS, _hand(20, 25, 66), _hand(21, 40, 71)]


def matrix_from_axis_angle(vectors: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of axis-angle vectors (..., 3) in radians; smooth at zero (Rodrigues' formula)."""
    x, y, z = vectors.unbind(-1)
    square = (vectors * vectors).sum(-1)
    angle = torch.sqrt(square + 1e-14)
    a = torch.sin(angle) / angle
    b = 0.5 * torch.square(torch.sin(0.5 * angle) / (0.5 * angle))
    xy, xz, yz = b * x * y, b * x * z, b * y * z
    xx, yy, zz = b * x * x, b * y * y, b * z * z
    ax, ay, az = a * x, a * y, a * z
    rows = (1 - yy - zz, xy - az, xz + ay, xy + az, 1 - xx - zz, yz - ax, xz - ay, yz + ax, 1 - xx - yy)
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


@dataclass(frozen=True)
class Posed:
    """points: (T, 144, 3) metres, in smplx's order. rotations: (T, 55, 3, 3), each joint's rotation in the world."""

    points: Tensor
    rotations: Tensor

    @property
    def joints(self) -> Tensor:
        return self.points[:, :JOINTS]

    @property
    def wholebody(self) -> Tensor:
        """(T, 133, 3): the points that the COCO-WholeBody key points name."""
        return self.points.index_select(1, torch.as_tensor(WHOLEBODY))


@dataclass(frozen=True)
class Kinematics:
    """What forward kinematics needs of a body file; every map from shape and expression is linear and precomputed.

    rest: (55, 3) joints of the mean shape; rest_betas (55, 3, 10) and rest_expression (55, 3, 10) per coefficient.
    A surface point is a sum over the vertices of its triangle and the joints that move them. Summed over the vertices
    first, K (point, joint) pairs are left: pair_point (K,), pair_joint (K,), mass (K, 1), the share of the joint in
    the point, and offsets (K, 3), offsets_betas, offsets_expression (K, 3, 10), the rest pose's point times that share.
    features: (P,) the entries of smplx's pose feature that move these points; correctives: (P, K * 3) by how much.
    hands_mean: (2, 15, 3), the file's mean left and right hand, axis-angle.
    """

    parents: tuple[int, ...]
    rest: Tensor
    rest_betas: Tensor
    rest_expression: Tensor
    pair_point: Tensor
    pair_joint: Tensor
    mass: Tensor
    offsets: Tensor
    offsets_betas: Tensor
    offsets_expression: Tensor
    features: Tensor
    correctives: Tensor
    hands_mean: Tensor

    @classmethod
    def from_arrays(cls, file: Mapping[str, NDArray], dtype: torch.dtype = torch.float32) -> Kinematics:
        """From the arrays of an SMPL-X file, under the licensed file's names.

        Raises ValueError where the joint tree is not SMPL-X's.
        """
        parents = np.asarray(file["kintree_table"])[0].astype(np.int64)
        if len(parents) != JOINTS or (parents[1:] >= np.arange(1, JOINTS)).any():
            raise ValueError(f"expected the {JOINTS} joints of SMPL-X, parents first; the body file has {len(parents)}")
        template = np.asarray(file["v_template"], np.float64)
        directions = np.asarray(file["shapedirs"], np.float64)
        start = 300 if directions.shape[-1] >= 400 else SHAPE_COLUMNS  # the rule of smplx.create
        betas, expression = directions[..., :SHAPE_COLUMNS], directions[..., start : start + EXPRESSION_COLUMNS]
        regressor = np.asarray(file["J_regressor"], np.float64)

        corners, coordinates = _surface_points(file)
        used, position = np.unique(corners, return_inverse=True)
        barycentric = np.zeros((len(corners), len(used)))
        np.add.at(barycentric, (np.arange(len(corners))[:, None], position.reshape(corners.shape)), coordinates)
        weights = np.asarray(file["weights"], np.float64)[used]
        points, joints = np.nonzero(barycentric @ weights > _NO_MASS)
        shares = barycentric[points] * weights[:, joints].T  # (K, vertices)

        posedirs = np.asarray(file["posedirs"], np.float64)[used]
        features = np.flatnonzero(np.abs(posedirs).max((0, 1)) > _NO_CORRECTIVE)
        hands = np.stack([np.asarray(file[f"hands_mean{side}"], np.float64).reshape(15, 3) for side in "lr"])

        def tensor(array: NDArray) -> Tensor:
            return torch.as_tensor(np.ascontiguousarray(array)).to(dtype)

        return cls(
            parents=(-1, *(int(p) for p in parents[1:])),
            rest=tensor(regressor @ template),
            rest_betas=tensor(np.einsum("jv,vkb->jkb", regressor, betas)),
            rest_expression=tensor(np.einsum("jv,vkb->jkb", regressor, expression)),
            pair_point=torch.as_tensor(points),
            pair_joint=torch.as_tensor(joints),
            mass=tensor(shares.sum(1, keepdims=True)),
            offsets=tensor(shares @ template[used]),
            offsets_betas=tensor(np.einsum("kv,vdb->kdb", shares, betas[used])),
            offsets_expression=tensor(np.einsum("kv,vdb->kdb", shares, expression[used])),
            features=torch.as_tensor(features),
            correctives=tensor(np.einsum("kv,vdp->pkd", shares, posedirs[..., features]).reshape(-1, 3 * len(points))),
            hands_mean=tensor(hands),
        )

    def rest_joints(self, betas: Tensor, expression: Tensor | None = None) -> Tensor:
        """Joints of the unposed body: (55, 3), or (T, 55, 3) for an expression (T, 10)."""
        rest = self.rest + self.rest_betas @ betas
        if expression is not None:
            rest = rest + torch.einsum("jkb,tb->tjk", self.rest_expression, expression)
        return rest

    def pose(self, betas: Tensor, rotations: Tensor, root: Tensor, expression: Tensor | None = None) -> Posed:
        """Pose one shape in T frames.

        betas: (10,). rotations: (T, 55, 3, 3), each joint's relative to its parent, in smplx's order. expression:
        (T, 10) or None for a neutral face. root: (T, 3), metres, where the pelvis joint lies; smplx's `transl` is
        `root - rest_joints(betas, expression)[0]`.
        """
        frames = len(rotations)
        rest = self.rest_joints(betas, expression)
        rest = rest.expand(frames, -1, -1)
        turned, joints = self._chain(rotations, rest, root)

        offsets = self.offsets + self.offsets_betas @ betas
        if expression is not None:
            offsets = offsets + torch.einsum("kdb,tb->tkd", self.offsets_expression, expression)
        if len(self.features):
            feature = (rotations[:, 1:] - torch.eye(3, dtype=rotations.dtype)).flatten(1)
            offsets = offsets + (feature.index_select(1, self.features) @ self.correctives).unflatten(-1, (-1, 3))
        shift = (joints - _turn(turned, rest)).index_select(1, self.pair_joint)
        moved = _turn(turned.index_select(1, self.pair_joint), offsets) + self.mass * shift
        surface = moved.new_zeros(frames, POINTS - JOINTS, 3).index_add(1, self.pair_point, moved)
        return Posed(torch.cat([joints, surface], 1), turned)

    def _chain(self, rotations: Tensor, rest: Tensor, root: Tensor) -> tuple[Tensor, Tensor]:
        """World rotations (T, 55, 3, 3) and joints (T, 55, 3), one level of the tree at a time."""
        turned, joints = [rotations[:, :1]], [root[:, None]]
        for level, above in _levels(self.parents):
            bones = rest.index_select(1, level) - rest.index_select(1, torch.tensor(self.parents)[level])
            base, local = turned[-1].index_select(1, above), rotations.index_select(1, level)
            turned.append((base[..., None] * local[..., None, :, :]).sum(-2))
            joints.append(joints[-1].index_select(1, above) + _turn(base, bones))
        order = [torch.zeros(1, dtype=torch.long), *(level for level, _ in _levels(self.parents))]
        back = torch.argsort(torch.cat(order))
        return torch.cat(turned, 1).index_select(1, back), torch.cat(joints, 1).index_select(1, back)


@lru_cache(maxsize=2)
def kinematics_of(body: Body) -> Kinematics:
    """The kinematics of a body, made once."""
    return Kinematics.from_arrays(body.arrays)


def full_pose(kinematics: Kinematics, sequence: BodySequence) -> Floats:
    """All 55 local rotations (T, 55, 3), axis-angle, hands absolute (`flat_hand_mean=True`), eyes looking ahead."""
    pose = np.zeros((len(sequence), JOINTS, 3), np.float32)
    pose[:, 0] = sequence.global_orient
    pose[:, 1:22] = sequence.body_pose
    pose[:, 22] = sequence.jaw_pose
    pose[:, 25:40], pose[:, 40:] = sequence.left_hand_pose, sequence.right_hand_pose
    if not sequence.flat_hand_mean:
        pose[:, 25:] += kinematics.hands_mean.reshape(30, 3).numpy()
    return pose


@cache
def _levels(parents: tuple[int, ...]) -> tuple[tuple[Tensor, Tensor], ...]:
    """The tree below the root by depth: the joints of each level and where their parents stand in the level above."""
    above = [0]
    levels: list[tuple[Tensor, Tensor]] = []
    while True:
        level = [joint for joint, parent in enumerate(parents) if parent in above]
        if not level:
            return tuple(levels)
        levels.append((torch.tensor(level), torch.tensor([above.index(parents[joint]) for joint in level])))
        above = level


def _turn(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Matrices (..., 3, 3) times vectors (..., 3); faster than `matmul` for so small ones."""
    return (matrices * vectors[..., None, :]).sum(-1)


def _surface_points(file: Mapping[str, NDArray]) -> tuple[NDArray, NDArray]:
    """Vertices (89, 3) and barycentric coordinates (89, 3) of the surface points.

    The contour is that of a frontal face (the first row of the file's table over head turns).
    """
    ids = vertex_joint_ids()
    faces = np.asarray(file["f"]).astype(np.int64)
    triangles = np.concatenate([np.asarray(file["lmk_faces_idx"]), np.asarray(file["dynamic_lmk_faces_idx"])[0]])
    corners = np.concatenate([np.repeat(ids[:, None], 3, 1), faces[triangles.astype(np.int64)]])
    one = np.tile([1.0, 0.0, 0.0], (len(ids), 1))
    return corners, np.concatenate([one, file["lmk_bary_coords"], np.asarray(file["dynamic_lmk_bary_coords"])[0]])
