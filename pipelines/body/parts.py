"""Body parts for label maps: the same names for every SMPL-X file, from the joints that move each vertex."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Label 0 is the background of a map. Left and right are the person's own.
PART_NAMES = (
    "background",
    "hips",
    "abdomen",
    "chest",
    "neck",
    "head",
    "jaw",
    "left eye",
    "right eye",
    "left shoulder",
    "right shoulder",
    "left upper arm",
    "right upper arm",
    "left forearm",
    "right forearm",
    "left hand",
    "right hand",
    "left thumb",
    "right thumb",
    "left fingers",
    "right fingers",
    "left thigh",
    "right thigh",
    "left shin",
    "right shin",
    "left foot",
    "right foot",
    "left toes",
    "right toes",
)

_BODY_PARTS = (
    "hips", "left thigh", "right thigh", "abdomen", "left shin", "right shin", "abdomen", "left foot", "right foot",
    "chest", "left toes", "right toes", "neck", "left shoulder", "right shoulder", "head", "left upper arm",
    "right upper arm", "left forearm", "right forearm", "left hand", "right hand", "jaw", "left eye", "right eye",
)  # fmt: skip
_HAND_PARTS = tuple(f"{side} {part}" for side in ("left", "right") for part in ["fingers"] * 12 + ["thumb"] * 3)
PART_OF_JOINT = np.array([PART_NAMES.index(name) for name in _BODY_PARTS + _HAND_PARTS], dtype=np.uint8)


def vertex_parts(weights: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(V,) label of each vertex, an index of PART_NAMES, from its skin weights (V, 55): the part that moves it most."""
    total = np.zeros((len(weights), len(PART_NAMES)), dtype=np.float64)
    np.add.at(total.T, PART_OF_JOINT, weights.T.astype(np.float64))
    return total.argmax(axis=1).astype(np.uint8)


def face_parts(faces: NDArray[np.int64], parts: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(F,) label of each triangle: what two of its corners agree on, else its first corner's."""
    a, b, c = (parts[faces[:, i]] for i in range(3))
    return np.where(b == c, b, a).astype(np.uint8)
