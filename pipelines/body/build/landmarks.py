"""Points on the surface: the vertex ids that `smplx` hard-codes, and the iBUG face landmarks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .tree import JOINT_NAMES

Array = NDArray[np.float64]
Index = NDArray[np.int64]

# smplx/vertex_ids.py: where `smplx` looks for these points, whatever the file.
VERTEX_IDS = {
    "nose": 9120,
    "right_eye": 9929,
    "left_eye": 9448,
    "right_ear": 616,
    "left_ear": 6,
    "left_thumb": 5361,
    "left_index": 4933,
    "left_middle": 5058,
    "left_ring": 5169,
    "left_pinky": 5286,
    "right_thumb": 8079,
    "right_index": 7669,
    "right_middle": 7794,
    "right_ring": 7905,
    "right_pinky": 8022,
    "left_big_toe": 5770,
    "left_small_toe": 5780,
    "left_heel": 8846,
    "right_big_toe": 8463,
    "right_small_toe": 8474,
    "right_heel": 8635,
}

# iBUG 68 numbering from 17 on; vertices of MakeHuman's base mesh (CC0), chosen by eye on numbered renderings. Two
# vertices mean the middle of their edge. The left half is given, the right half is its mirror image.
_MIDLINE: dict[int, tuple[int, ...]] = {
    27: (132,),
    28: (135,),
    29: (5063,),
    30: (291,),
    33: (317,),
    51: (455,),
    57: (496,),
    62: (474,),
    66: (493,),
}
_LEFT: dict[int, tuple[int, ...]] = {
    22: (7001, 6983),
    23: (6980,),
    24: (6979,),
    25: (6981,),
    26: (6982,),
    34: (7076,),
    35: (7119,),
    42: (6850,),
    43: (6838,),
    44: (6784,),
    45: (6805,),
    46: (6825,),
    47: (6831,),
    52: (7210,),
    53: (11956,),
    54: (7185,),
    55: (7239,),
    56: (7245,),
    63: (7226,),
    64: (7189,),
    65: (7236,),
}
_MIRRORED = {
    **{22 + i: 21 - i for i in range(5)},
    34: 32,
    35: 31,
    **{42: 39, 43: 38, 44: 37, 45: 36, 46: 41, 47: 40},
    **{52: 50, 53: 49, 54: 48, 55: 59, 56: 58},
    **{63: 61, 64: 60, 65: 67},
}


def anchors(
    rest: Array, tips: dict[str, Array], keypoints: dict[str, Array], eyes: Index, weights: Array, pair: Index
) -> dict[str, int]:
    """The vertex for each name in VERTEX_IDS.

    rest: (V, 3) rest pose. tips: finger tip positions by name (thumb, index, ...) of the left hand; keypoints:
    positions of COCO points by name, both on the rest pose. weights: (V, 55).
    """
    found: dict[str, int] = {}

    def nearest(point: Array, among: NDArray[np.bool_]) -> int:
        rows = np.flatnonzero(among)
        return int(rows[np.linalg.norm(rest[rows] - point, axis=1).argmin()])

    skin = eyes == 0
    left = skin & (rest[:, 0] > 0)
    face = skin & (weights[:, JOINT_NAMES.index("head")] > 0.5) & (np.abs(rest[:, 0]) < 1e-4)
    rows = np.flatnonzero(face)
    found["nose"] = int(rows[rest[rows, 2].argmax()])
    for name in ("ear", "big_toe", "small_toe", "heel"):
        found[f"left_{name}"] = nearest(keypoints[f"left_{name}"], left)
    pupil = np.flatnonzero(eyes == 1)
    found["left_eye"] = int(pupil[rest[pupil, 2].argmax()])
    for finger, tip in tips.items():
        found[f"left_{finger}"] = nearest(tip, skin & (weights[:, JOINT_NAMES.index(f"left_{finger}3")] > 0.5))
    for name, vertex in list(found.items()):
        if name.startswith("left_"):
            found["right_" + name[5:]] = int(pair[vertex])
    return found


def order_for(anchor: dict[str, int], count: int) -> Index:
    """A permutation of the vertices that puts each anchor at its hard-coded id: order[new id] = old id."""
    order = np.arange(count)
    place = np.arange(count)
    for name, slot in VERTEX_IDS.items():
        old = anchor[name]
        there, here = place[old], order[slot]
        order[there], order[slot] = here, old
        place[here], place[old] = there, slot
    return order


def face_landmarks(faces: Index, base: Index, pair: Index) -> tuple[Index, Array]:
    """The 51 inner landmarks as (faces (51,), barycentric coordinates (51, 3)); `base`: MakeHuman id of each vertex."""
    at = {int(b): i for i, b in enumerate(base)}
    chosen: dict[int, tuple[int, ...]] = {}
    for number, ids in {**_MIDLINE, **_LEFT}.items():
        chosen[number] = tuple(at[b] for b in ids)
    for number, other in _MIRRORED.items():
        chosen[other] = tuple(int(pair[v]) for v in chosen[number])
    return on_faces([chosen[number] for number in range(17, 68)], faces)


def on_faces(points: list[tuple[int, ...]], faces: Index) -> tuple[Index, Array]:
    """Each point is the mean of one to three vertices of one face. Returns face indices and barycentric coordinates."""
    index = np.empty(len(points), dtype=np.int64)
    bary = np.zeros((len(points), 3))
    for k, vertices in enumerate(points):
        holds = np.ones(len(faces), dtype=bool)
        for v in vertices:
            holds &= (faces == v).any(axis=1)
        if not holds.any():
            raise ValueError(f"landmark {17 + k}: the vertices {vertices} do not lie on one face")
        index[k] = int(np.flatnonzero(holds)[0])
        for v in vertices:
            bary[k, faces[index[k]] == v] = 1 / len(vertices)
    return index, bary
