"""Left and right: the body is kept symmetric, so that neither side carries the source mesh's rounding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Array = NDArray[np.float64]
FLIP = np.array([-1.0, 1.0, 1.0])


def mirror_vertices(vertices: Array) -> NDArray[np.int64]:
    """For each vertex of one body (V, 3) the vertex at its mirror image.

    Raises ValueError where the mesh is not symmetric to 1 mm or the pairing is not one to one.
    """
    distance, pair = cKDTree(vertices).query(vertices * FLIP)
    if distance.max() > 1e-3 or (pair[pair] != np.arange(len(vertices))).any():
        raise ValueError(f"the source mesh is not symmetric: worst pair is {1000 * distance.max():.2f} mm apart")
    return pair.astype(np.int64)


def symmetrise(points: Array, pair: NDArray[np.int64]) -> Array:
    """The mean of each body (..., V, 3) and its mirror image."""
    return (points + points[..., pair, :] * FLIP) / 2
