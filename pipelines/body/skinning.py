"""Linear blend skinning of many frames of one shape: equal to `smplx`, several times faster on a CPU."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compiled import compiled

Floats = NDArray[np.float32]


def rotation_matrices(axis_angle: Floats) -> NDArray[np.float64]:
    """(..., 3) axis-angle in radians to (..., 3, 3) rotations (Rodrigues' formula), float64."""
    vector = np.asarray(axis_angle, dtype=np.float64)
    angle = np.linalg.norm(vector, axis=-1)[..., None, None]
    safe = np.where(angle < 1e-8, 1.0, angle)
    x, y, z = np.moveaxis(vector, -1, 0)
    zero = np.zeros_like(x)
    k = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*vector.shape, 3) / safe
    sine = np.where(angle < 1e-8, angle, np.sin(angle))
    return np.eye(3) + sine * k + (1 - np.cos(angle)) * (k @ k)


def joint_transforms(
    rotations: NDArray[np.float64], rest: NDArray[np.float64], parents: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """World transforms from the rest pose.

    rotations: (n, J, 3, 3) relative to the parent. rest: (n, J, 3) rest joints, metres. Returns the transforms of
    points (n, J, 3, 4) and the posed joints (n, J, 3).
    """
    n, count = rest.shape[:2]
    world = np.empty((n, count, 3, 3))
    at = np.empty((n, count, 3))
    for j in range(count):
        p = parents[j]
        if p < 0:
            world[:, j], at[:, j] = rotations[:, j], rest[:, j]
            continue
        world[:, j] = world[:, p] @ rotations[:, j]
        at[:, j] = at[:, p] + (world[:, p] @ (rest[:, j] - rest[:, p])[..., None])[..., 0]
    shift = at - (world @ rest[..., None])[..., 0]
    return np.concatenate([world, shift[..., None]], axis=-1), at


@compiled
def skin(
    shaped: Floats,
    starts: NDArray[np.int64],
    joints: NDArray[np.int64],
    weights: Floats,
    transforms: Floats,
    out: Floats,
) -> None:
    """out[i, v] = sum of weights * transforms[i, joint] applied to shaped[i, v].

    shaped, out: (n, V, 3). starts (V + 1,), joints, weights: the sparse rows of the skin weights. transforms:
    (n, J, 3, 4).
    """
    for i in range(len(transforms)):
        for v in range(len(starts) - 1):
            x = shaped[i, v, 0]
            y = shaped[i, v, 1]
            z = shaped[i, v, 2]
            for row in range(3):
                total = np.float32(0.0)
                for k in range(starts[v], starts[v + 1]):
                    m = transforms[i, joints[k], row]
                    total += weights[k] * (m[0] * x + m[1] * y + m[2] * z + m[3])
                out[i, v, row] = total
