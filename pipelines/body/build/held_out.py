"""How well the file makes bodies it was not built from: figures for docs/free_body.md, the reference of a test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import assemble, pack, tree
from .source import Source

Array = NDArray[np.float64]


@dataclass(frozen=True)
class HeldOut:
    """Bodies of other phenotypes against the file. Errors in millimetres.

    betas: (N, 10) best shape of each body. joints: (N, 55, 3) its true joints in the rest pose, metres. surface: (N, V)
    distance of each vertex of the best shape. regressed: (N, 55) error of J_regressor on the true surface. shaped:
    (N, 55) error of the joints of the best shape.
    """

    betas: Array
    joints: Array
    surface: Array
    regressed: Array
    shaped: Array


def measure(arrays: dict[str, NDArray], order: NDArray[np.int64], source: Source) -> HeldOut:
    """Fit the ten shape components to every body of `source` and compare; `order` as `smplx_arrays` returns it."""
    posed = assemble.rest_bodies(source)
    truth = posed.vertices[:, order]
    template, directions = arrays["v_template"].astype(np.float64), arrays["shapedirs"][..., :10].astype(np.float64)
    regressor = arrays["J_regressor"].astype(np.float64)
    basis = directions.reshape(-1, 10)
    betas = np.linalg.lstsq(basis, (truth - template).reshape(len(truth), -1).T, rcond=None)[0].T
    best = template + np.einsum("vkc,nc->nvk", directions, betas)

    def distance(a: Array, b: Array) -> Array:
        return 1000 * np.linalg.norm(a - b, axis=-1)

    return HeldOut(
        betas=betas.astype(np.float64),
        joints=posed.joints,
        surface=distance(best, truth),
        regressed=distance(np.einsum("jv,nvk->njk", regressor, truth), posed.joints),
        shaped=distance(np.einsum("jv,nvk->njk", regressor, best), posed.joints),
    )


def report(held: HeldOut) -> str:
    lines = [f"{len(held.betas)} held-out bodies, betas within {np.abs(held.betas).max():.1f}"]
    for name, error in (
        ("surface of the best shape", held.surface),
        ("joints regressed from the true surface", held.regressed),
        ("joints of the best shape", held.shaped),
    ):
        tail = np.percentile(error, 95)
        lines.append(f"{name}: mean {error.mean():.2f} mm, 95 % {tail:.2f}, worst {error.max():.2f}")
    per_joint = held.regressed.mean(axis=0)
    hardest = np.argsort(-per_joint)[:6]
    named = ", ".join(f"{tree.JOINT_NAMES[j]} {per_joint[j]:.1f}" for j in hardest)
    lines.append(f"joints hardest to regress, mean mm: {named}")
    return "\n".join(lines)


def write_reference(path: Path, held: HeldOut) -> None:
    """The small reference that the tests hold the joint regressor against."""
    pack.write(path, {"betas": held.betas.astype(np.float32), "joints": held.joints.astype(np.float32)})
