"""Forward kinematics against the smplx package, on a file with the licensed file's keys and random values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import smplx
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipelines.body.kinematics import (
    CONTOUR_POINTS,
    POINTS,
    WHOLEBODY,
    Kinematics,
    full_pose,
    kinematics_of,
    matrix_from_axis_angle,
)
from pipelines.body.model import load_body
from tests.body.body_motions import dance

PARENTS = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 15, 15, 15]
for wrist, first in ((20, 25), (21, 40)):
    PARENTS += [p for finger in range(first, first + 15, 3) for p in (wrist, finger, finger + 1)]
VERTICES = 10475


def random_body_file(columns: int, correctives: bool, seed: int = 0) -> dict[str, NDArray]:
    rng = np.random.default_rng(seed)
    weights = np.zeros((VERTICES, 55), np.float32)
    weights[np.arange(VERTICES), rng.integers(0, 55, VERTICES)] = 0.7
    weights[np.arange(VERTICES), rng.integers(0, 55, VERTICES)] += 0.3
    regressor = np.zeros((55, VERTICES), np.float32)
    for joint in range(55):
        regressor[joint, rng.integers(0, VERTICES, 8)] = 1 / 8
    posedirs = np.zeros((VERTICES, 3, 486), np.float32)
    if correctives:
        posedirs += rng.normal(0, 1e-3, (1, 3, 486)).astype(np.float32) * rng.random((VERTICES, 1, 1), np.float32)
    return {
        "v_template": rng.normal(0, 0.5, (VERTICES, 3)).astype(np.float32),
        "shapedirs": rng.normal(0, 0.02, (VERTICES, 3, columns)).astype(np.float32),
        "posedirs": posedirs,
        "J_regressor": regressor,
        "weights": weights / weights.sum(1, keepdims=True),
        "kintree_table": np.array([PARENTS, range(55)]),
        "f": rng.integers(0, VERTICES, (20908, 3)),
        "lmk_faces_idx": rng.integers(0, 20908, 51),
        "lmk_bary_coords": rng.dirichlet(np.ones(3), 51),
        "dynamic_lmk_faces_idx": rng.integers(0, 20908, (79, 17)),
        "dynamic_lmk_bary_coords": rng.dirichlet(np.ones(3), (79, 17)),
        **{f"hands_mean{side}": rng.normal(0, 0.2, 45).astype(np.float32) for side in "lr"},
        **{f"hands_components{side}": np.eye(45, dtype=np.float32) for side in "lr"},
    }


@pytest.mark.parametrize(("columns", "correctives"), [(20, True), pytest.param(400, False, marks=pytest.mark.slow)])
def test_joints_and_surface_points_equal_smplx(tmp_path: Path, columns: int, correctives: bool) -> None:
    file = random_body_file(columns, correctives)
    path = tmp_path / "SMPLX_NEUTRAL.npz"
    np.savez(path, allow_pickle=False, **file)
    frames = 3
    reference = smplx.create(
        str(path), model_type="smplx", ext="npz", use_pca=False, flat_hand_mean=True, num_betas=10,
        num_expression_coeffs=10, use_face_contour=True, batch_size=frames,
    )  # fmt: skip
    rng = torch.Generator().manual_seed(1)
    betas = torch.randn(10, generator=rng)
    expression = torch.randn(frames, 10, generator=rng)
    pose = torch.randn(frames, 55, 3, generator=rng) * 0.4
    transl = torch.randn(frames, 3, generator=rng)
    expected = reference(
        betas=betas.expand(frames, 10), expression=expression, transl=transl, global_orient=pose[:, 0],
        body_pose=pose[:, 1:22].flatten(1), jaw_pose=pose[:, 22], leye_pose=pose[:, 23], reye_pose=pose[:, 24],
        left_hand_pose=pose[:, 25:40].flatten(1), right_hand_pose=pose[:, 40:].flatten(1),
    ).joints.detach()  # fmt: skip

    kinematics = Kinematics.from_arrays(file)
    root = kinematics.rest_joints(betas, expression)[:, 0] + transl
    points = kinematics.pose(betas, matrix_from_axis_angle(pose), root, expression).points
    assert points.shape == (frames, POINTS, 3)
    fixed = slice(0, CONTOUR_POINTS.start)  # smplx slides the contour with the head's turn
    assert (points[:, fixed] - expected[:, fixed]).abs().max() < 1e-5


def test_the_133_points_are_named_once_each_but_for_the_wrists() -> None:
    values, counts = np.unique(WHOLEBODY, return_counts=True)
    assert len(WHOLEBODY) == 133
    assert set(values[counts > 1]) == {20, 21}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=3, max_size=3))
def test_axis_angle_gives_a_rotation_that_keeps_its_axis(vector: list[float]) -> None:
    v = torch.tensor(vector, dtype=torch.float64)
    matrix = matrix_from_axis_angle(v)
    assert torch.allclose(matrix @ matrix.T, torch.eye(3, dtype=torch.float64), atol=1e-6)
    assert torch.allclose(matrix @ v, v, atol=1e-6)


def test_the_gradient_at_the_rest_pose_is_finite() -> None:
    vectors = torch.zeros(2, 3, requires_grad=True)
    matrix_from_axis_angle(vectors)[:, 0, 1].sum().backward()
    assert vectors.grad is not None
    assert torch.allclose(vectors.grad, torch.tensor([[0.0, 0, -1], [0, 0, -1]]))


def test_another_joint_tree_is_refused() -> None:
    file = random_body_file(20, False)
    file["kintree_table"] = file["kintree_table"][:, :24]
    with pytest.raises(ValueError, match="55 joints"):
        Kinematics.from_arrays(file)


def test_the_free_body_has_the_same_points_as_its_own_forward_pass() -> None:
    body = load_body()
    sequence = dance(body, 4, np.linspace(-1, 1, 10, dtype=np.float32))
    kinematics = kinematics_of(body)
    betas, expression = torch.as_tensor(sequence.betas), torch.as_tensor(sequence.expression)
    root = kinematics.rest_joints(betas, expression)[:, 0] + torch.as_tensor(sequence.transl)
    rotations = matrix_from_axis_angle(torch.as_tensor(full_pose(kinematics, sequence)))
    points = kinematics.pose(betas, rotations, root, expression).points.numpy()
    assert np.abs(points - body.joints(sequence)).max() < 1e-5


def test_hands_relative_to_the_mean_hand_become_absolute() -> None:
    body = load_body()
    absolute = dance(body, 2, np.zeros(10, np.float32))
    left, right = body.hand_means
    relative = replace(
        absolute,
        left_hand_pose=absolute.left_hand_pose - left,
        right_hand_pose=absolute.right_hand_pose - right,
        flat_hand_mean=False,
    )
    a, b = (full_pose(kinematics_of(body), sequence) for sequence in (absolute, relative))
    assert np.abs(a - b).max() < 1e-6
