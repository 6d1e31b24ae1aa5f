"""The 17 points of the face contour (iBUG 0-16) for head turns of -39 to 39 degrees, as SMPL-X's table has them.

A detector marks the contour where the face ends in the picture. That is a line on the face which slides with the turn:
on the far side it is the face's own outline, on the near side it stays on the edge of the jaw.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .tree import JOINT_NAMES

Array = NDArray[np.float64]
Index = NDArray[np.int64]

TURNS = 39
# How far the eyes are above the first contour point, in metres, and how far back the jaw's edge reaches behind its joint.
_TOP_BELOW_EYES = 0.0
_BEHIND_JAW = 0.004


def contour_table(rest: Array, joints: Array, weights: Array, faces: Index, ears: Index) -> tuple[Index, Array]:
    """Faces (79, 17) and barycentric coordinates (79, 17, 3): row 0 looks ahead, row k turns by -k degrees about y, row
    39 + k by k degrees (how `smplx` reads its table).

    rest: (V, 3), joints: (55, 3), weights: (V, 55). ears: (E,) vertices of the ears, which are left out.
    """
    edges = _face_edges(rest, joints, weights, faces, ears)
    heights = _heights(rest, joints, edges)
    index = np.empty((2 * TURNS + 1, 17), dtype=np.int64)
    bary = np.zeros((2 * TURNS + 1, 17, 3))
    for row in range(2 * TURNS + 1):
        turn = -row if row <= TURNS else row - TURNS
        for k, (a, b, t) in enumerate(_outline(rest, edges, heights, np.radians(turn))):
            face = int(np.flatnonzero((faces == a).any(axis=1) & (faces == b).any(axis=1))[0])
            index[row, k] = face
            bary[row, k, faces[face] == a] = 1 - t
            bary[row, k, faces[face] == b] = t
    return index, bary


def _face_edges(rest: Array, joints: Array, weights: Array, faces: Index, ears: Index) -> Index:
    """Edges (E, 2) of the skin of the face: no ears, no neck, no underside of the chin, nothing behind the jaw's edge."""
    a, b, c = (rest[faces[:, i]] for i in range(3))
    face_normal = np.cross(b - a, c - a)
    normal = np.zeros_like(rest)
    for i in range(3):
        np.add.at(normal, faces[:, i], face_normal)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
    head = weights[:, [JOINT_NAMES.index("head"), JOINT_NAMES.index("jaw")]].sum(axis=1)
    jaw_joint = joints[JOINT_NAMES.index("jaw")]
    good = (head > 0.6) & (rest[:, 2] > jaw_joint[2] - _BEHIND_JAW) & (normal[:, 1] > -0.75)
    good[ears] = False
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    edges = np.unique(edges, axis=0)
    return edges[good[edges].all(axis=1)]


def _crossings(rest: Array, edges: Index, height: float) -> tuple[Index, Array, Array]:
    """Where edges cross a horizontal plane: the edges (K, 2), the fraction along each (K,), the points (K, 3)."""
    low, high = rest[edges[:, 0], 1], rest[edges[:, 1], 1]
    crossing = (low - height) * (high - height) < 0
    hit = edges[crossing]
    t = (height - low[crossing]) / (high[crossing] - low[crossing])
    return hit, t, rest[hit[:, 0]] * (1 - t[:, None]) + rest[hit[:, 1]] * t[:, None]


def _heights(rest: Array, joints: Array, edges: Index) -> Array:
    """(9,) heights of the points 0 to 8: equal steps along the outline of the frontal face, eye level to chin."""
    top = joints[JOINT_NAMES.index("left_eye"), 1] - _TOP_BELOW_EYES
    front = edges[(np.abs(rest[edges, 0]) < 0.02).all(axis=1)]
    chin = float(rest[front, 1].min()) + 1e-4
    levels = np.linspace(top, chin, 200)
    outline = []
    for level in levels:
        _, _, points = _crossings(rest, edges, level)
        outline.append([points[:, 0].max() if len(points) else 0.0, level])
    outline.append([0.0, chin])
    path = np.array(outline)
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    return np.interp(np.linspace(0, length[-1], 9), length, path[:, 1])


def _outline(rest: Array, edges: Index, heights: Array, turn: float) -> list[tuple[int, int, float]]:
    """The 17 points, right ear to left ear, of a head turned by `turn` radians about the vertical: (vertex, vertex, t)."""
    sine, cosine = np.sin(turn), np.cos(turn)
    points: list[tuple[int, int, float]] = []
    for k in range(17):
        hit, t, at = _crossings(rest, edges, heights[8 - abs(8 - k)])
        across = cosine * at[:, 0] + sine * at[:, 2]
        if k == 8:
            best = int(at[:, 2].argmax())
        else:
            best = int(across.argmin() if k < 8 else across.argmax())
        points.append((int(hit[best, 0]), int(hit[best, 1]), float(t[best])))
    return points
