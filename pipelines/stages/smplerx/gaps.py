"""Filling the frames in which nobody was seen from those before and after."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp


def filled(values: NDArray[np.floating], seen: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """Values (n, ...) of the frames `seen` (n,), ascending, for all `count` frames: linear between, held beyond."""
    flat = values.reshape(len(seen), -1)
    columns = [np.interp(np.arange(count), seen, column) for column in flat.T]
    return np.stack(columns, axis=1).reshape(count, *values.shape[1:]).astype(np.float32)


def filled_rotations(rotations: NDArray[np.floating], seen: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """Axis-angles (count, J, 3) for all frames from matrices (n, J, 3, 3) of the frames `seen`: slerp, held beyond."""
    joints = rotations.shape[1]
    if len(seen) == count:
        flat = Rotation.from_matrix(rotations.reshape(-1, 3, 3)).as_rotvec()
        return flat.reshape(count, joints, 3).astype(np.float32)
    times = np.arange(count).clip(seen[0], seen[-1])
    out = np.empty((count, joints, 3), np.float32)
    for joint in range(joints):
        known = Rotation.from_matrix(rotations[:, joint])
        between = known[np.zeros(count, int)] if len(seen) == 1 else Slerp(seen, known)(times)
        out[:, joint] = between.as_rotvec()
    return out
