"""A file with the licensed SMPL-X file's exact keys and sizes, and random values: nothing of SMPL-X is in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.body.body_file import JOINTS
from pipelines.body.model import load_body

VERTICES, FACES, COLUMNS = 10475, 20908, 400


def smplx_arrays(seed: int = 0) -> dict[str, NDArray]:
    """The arrays of SMPLX_NEUTRAL.npz (version 1.1) by name, type and size, object arrays included.

    The joint tree and the rest joints are those of the free body, so that poses make sense; the skin is a cloud of
    random triangles about the joints.
    """
    rng = np.random.default_rng(seed)
    free = load_body()
    joints = free.rest_joints(np.zeros(10, np.float32)).astype(np.float64)
    owner = np.arange(VERTICES) % JOINTS
    template = joints[owner] + rng.normal(0, 0.02, (VERTICES, 3))
    weights = np.zeros((VERTICES, JOINTS))
    weights[np.arange(VERTICES), owner] = 0.75
    weights[np.arange(VERTICES), np.maximum(free.parents[owner], 0)] += 0.25
    regressor = np.zeros((JOINTS, VERTICES))
    for joint in range(JOINTS):
        own = np.flatnonzero(owner == joint)
        regressor[joint, own] = rng.dirichlet(np.ones(len(own)))
    kintree = np.stack([free.parents.astype(np.uint32), np.arange(JOINTS, dtype=np.uint32)])
    faces = rng.integers(0, VERTICES // JOINTS, (FACES, 3)) * JOINTS + rng.integers(0, JOINTS, FACES)[:, None]

    def bary(*shape: int) -> NDArray:
        return rng.dirichlet(np.ones(3), shape)

    names = np.empty((), dtype=object)
    names[()] = {"pelvis": 0}
    return {
        "v_template": template,
        "f": np.minimum(faces, VERTICES - 1).astype(np.uint32),
        "shapedirs": rng.normal(0, 0.005, (VERTICES, 3, COLUMNS)),
        "posedirs": rng.normal(0, 0.0005, (VERTICES, 3, 486)),
        "J_regressor": regressor,
        "weights": weights,
        "kintree_table": kintree,
        "hands_componentsl": np.linalg.qr(rng.normal(size=(45, 45)))[0],
        "hands_componentsr": np.linalg.qr(rng.normal(size=(45, 45)))[0],
        "hands_coeffsl": rng.normal(size=(1554, 45)),
        "hands_coeffsr": rng.normal(size=(1554, 45)),
        "hands_meanl": rng.normal(0, 0.2, 45),
        "hands_meanr": rng.normal(0, 0.2, 45),
        "lmk_faces_idx": rng.integers(0, FACES, 51),
        "lmk_bary_coords": bary(51),
        "dynamic_lmk_faces_idx": rng.integers(0, FACES, (79, 17)),
        "dynamic_lmk_bary_coords": bary(79, 17),
        "vt": rng.random((11313, 2)),
        "ft": rng.integers(0, 11313, (FACES, 3)).astype(np.uint32),
        "joint2num": names,
        "part2num": names,
    }


def write_smplx_file(path: Path, **changes: NDArray | None) -> Path:
    """Write the arrays to `path`, some replaced, or left out where the change is None."""
    arrays = {**smplx_arrays(), **changes}
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path
