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
# How far the edge of the jaw reaches behind its joint, metres.
_BEHIND_JAW = 0.004
# How high the corner of the jaw is between the chin and the jaw's joint, and how far the chin reaches below its front.
_JAW_CORNER = 0.35
_CHIN_DEPTH = 0.006


def contour_table(rest: Array, joints: Array, weights: Array, faces: Index, ears: Index) -> tuple[Index, Array]:
    """Faces (79, 17) and barycentric coordinates (79, 17, 3): row 0 looks ahead, row k turns by -k degrees about y, row
    39 + k by k degrees (how `smplx` reads its table).

    rest: (V, 3), joints: (55, 3), weights: (V, 55). ears: (E,) vertices of the ears, which are left out.
    """
    edges = _face_edges(rest, joints, weights, faces, ears)
    eyes = joints[[JOINT_NAMES.index("left_eye"), JOINT_NAMES.index("right_eye")]].mean(axis=0)
    front = edges[(np.abs(rest[edges, 0]) < 0.01).all(axis=1)]
    chin = float(rest[front, 1].min())
    # The axis of the head's turn goes through the front of the chin, so that the chin stays where it is.
    middle = rest[np.abs(rest[:, 0]) < 0.01]
    depth = float(middle[np.abs(middle[:, 1] - chin) < 0.02, 2].max())
    centre = np.array([0.0, (eyes[1] + chin) / 2, depth])
    index = np.empty((2 * TURNS + 1, 17), dtype=np.int64)
    bary = np.zeros((2 * TURNS + 1, 17, 3))
    for row in range(2 * TURNS + 1):
        turn = np.radians(-row if row <= TURNS else row - TURNS)
        for k, (a, b, t) in enumerate(_contour(rest - centre, edges, float(eyes[1] - centre[1]), turn)):
            face = int(np.flatnonzero((faces == a).any(axis=1) & (faces == b).any(axis=1))[0])
            index[row, k] = face
            bary[row, k, faces[face] == a] = 1 - t
            bary[row, k, faces[face] == b] = t
    return index, bary


def _contour(points: Array, edges: Index, eye_level: float, turn: float) -> list[tuple[int, int, float]]:
    """The 17 points as places on edges, along rays in equal angles from eye level to the chin, right to left."""
    ahead, seen = _turned(points, 0.0), _turned(points, turn)
    found = []
    for k in range(17):
        side = np.sign(k - 8)
        # The side that turns away shows the outline of the face, the other one keeps the edge of the jaw.
        view = seen if side * turn > 0 else ahead
        reach = float((view[edges, 0] * (side or 1)).max())
        angle = np.interp(abs(k - 8) / 8, [0, 1], [np.pi / 2, -float(np.arctan2(eye_level, reach))])
        found.append(_farthest(view, edges, np.array([np.cos(angle) * side, -np.sin(angle)])))
    return found


def _turned(points: Array, turn: float) -> Array:
    """What a viewer in front sees, (V, 2) to the person's left and up, of a head turned about the vertical."""
    return np.stack([np.cos(turn) * points[:, 0] + np.sin(turn) * points[:, 2], points[:, 1]], axis=1)


def _farthest(seen: Array, edges: Index, ray: Array) -> tuple[int, int, float]:
    """Where the ray from the origin leaves the edges: (vertex, vertex, fraction of the way from the first)."""
    beside = seen @ np.array([-ray[1], ray[0]])
    low, high = beside[edges[:, 0]], beside[edges[:, 1]]
    crossing = (low <= 0) != (high <= 0)
    hit = edges[crossing]
    t = low[crossing] / (low[crossing] - high[crossing])
    along = (seen[hit[:, 0]] * (1 - t[:, None]) + seen[hit[:, 1]] * t[:, None]) @ ray
    best = int(along.argmax())
    return int(hit[best, 0]), int(hit[best, 1]), float(t[best])


def _face_edges(rest: Array, joints: Array, weights: Array, faces: Index, ears: Index) -> Index:
    """Edges (E, 2) of the skin of the face: no ears, no neck, nothing below or behind the edge of the jaw."""
    head = weights[:, [JOINT_NAMES.index("head"), JOINT_NAMES.index("jaw")]].sum(axis=1)
    hinge = joints[JOINT_NAMES.index("jaw")]
    good = (head > 0.6) & (rest[:, 2] > hinge[2] - _BEHIND_JAW)
    good[ears] = False
    # The chin is the point that lies farthest down and ahead. From there the edge of the jaw rises to its corner; what
    # lies lower is the floor of the mouth and the throat.
    middle = np.flatnonzero(good & (np.abs(rest[:, 0]) < 0.01))
    chin = rest[middle[(rest[middle, 2] - rest[middle, 1]).argmax()]]
    corner = chin[1] + _JAW_CORNER * (hinge[1] - chin[1])
    jaw_edge = np.interp(rest[:, 2], [hinge[2], chin[2]], [corner, chin[1] - _CHIN_DEPTH])
    good &= rest[:, 1] > jaw_edge
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    edges = np.unique(edges, axis=0)
    return edges[good[edges].all(axis=1)]
