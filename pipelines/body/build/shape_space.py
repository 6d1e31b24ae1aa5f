"""Ten shape components from sampled bodies, ten expression components from named facial actions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Each component at value 2 is the full action. (name, actions added, actions subtracted)
EXPRESSIONS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("smile", ("mouthSmileLeft", "mouthSmileRight"), ()),
    ("mouth corners down", ("mouthFrownLeft", "mouthFrownRight"), ()),
    ("lips parted", ("mouthUpperUpLeft", "mouthUpperUpRight", "mouthLowerDownLeft", "mouthLowerDownRight"), ()),
    ("pucker", ("mouthPucker",), ()),
    ("mouth wide", ("mouthStretchLeft", "mouthStretchRight"), ()),
    ("mouth to the left", ("mouthLeft",), ("mouthRight",)),
    ("brows up", ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"), ()),
    ("brows down", ("browDownLeft", "browDownRight"), ()),
    ("eyes closed", ("eyeBlinkLeft", "eyeBlinkRight"), ()),
    ("cheeks blown out", ("cheekPuff",), ()),
)
FULL_ACTION = 2.0


def shape_components(bodies: Array, count: int = 10) -> tuple[Array, Array, Array]:
    """Principal components of bodies in the rest pose with a common pelvis.

    bodies: (N, V, 3). Returns the mean (V, 3); components (V, 3, count), metres for one standard deviation; and the
    share of the variance that each holds (count,).
    """
    mean = bodies.mean(axis=0)
    flat = (bodies - mean).reshape(len(bodies), -1)
    _, s, vt = np.linalg.svd(flat, full_matrices=False)
    scale = s[:count] / np.sqrt(len(bodies) - 1)
    components = (vt[:count] * scale[:, None]).reshape(count, *mean.shape)
    return mean, components.transpose(1, 2, 0), s[:count] ** 2 / (s**2).sum()


def orient(components: Array, mean: Array, faces: NDArray[np.int64]) -> Array:
    """Fix the sign of each component (V, 3, K): the first grows the stature, the others grow the body's volume."""
    signed = components.copy()
    high, low = int(mean[:, 1].argmax()), int(mean[:, 1].argmin())
    for k in range(components.shape[2]):
        along = components[..., k]
        grows = along[high, 1] - along[low, 1] if k == 0 else _volume_change(along, mean, faces)
        if grows < 0:
            signed[..., k] = -along
    return signed


def _volume_change(direction: Array, mean: Array, faces: NDArray[np.int64]) -> float:
    return volume(mean + direction, faces) - volume(mean - direction, faces)


def volume(vertices: Array, faces: NDArray[np.int64]) -> float:
    """Volume of a closed mesh, by signed tetrahedra from the origin."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return float(np.einsum("ij,ij->i", np.cross(a, b), c).sum() / 6)


def expression_components(offsets: Array, actions: list[str]) -> Array:
    """offsets: (A, V, 3) metres of each named action at full strength. Returns (V, 3, 10)."""
    index = {name: i for i, name in enumerate(actions)}
    columns = []
    for _, plus, minus in EXPRESSIONS:
        total = sum(offsets[index[a]] for a in plus) - sum((offsets[index[a]] for a in minus), start=np.zeros(()))
        columns.append(total / (FULL_ACTION * (2 if minus else 1)))
    return np.stack(columns, axis=-1)
