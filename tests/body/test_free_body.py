"""The body that ships with the project: what it looks like, in numbers."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import smplx
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from smplx.joint_names import JOINT_NAMES
from smplx.vertex_ids import vertex_ids

from pipelines.body.build import pack, tree
from pipelines.body.model import FREE_BODY, Body, load_body
from pipelines.clip import BodySequence, Camera

IDS = vertex_ids["smplx"]
FINGERS = ("thumb", "index", "middle", "ring", "pinky")


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


@pytest.fixture(scope="module")
def rest(body: Body) -> NDArray[np.float64]:
    return body.arrays["v_template"].astype(np.float64)


@pytest.fixture(scope="module")
def joints(body: Body) -> dict[str, NDArray[np.float32]]:
    return dict(zip(JOINT_NAMES[:55], body.rest_joints(np.zeros(10, np.float32))))


def posed(body: Body, turns: dict[str, tuple[float, float, float]]) -> NDArray[np.float64]:
    """Vertices with some joints turned; degrees about the axes of the rest pose."""
    pose = np.zeros((1, 55, 3), dtype=np.float32)
    for name, angles in turns.items():
        pose[0, JOINT_NAMES.index(name)] = np.radians(angles)
    zeros = np.zeros((1, 3), dtype=np.float32)
    sequence = BodySequence(
        betas=np.zeros(10, np.float32),
        expression=np.zeros((1, 10), np.float32),
        global_orient=zeros,
        body_pose=pose[:, 1:22],
        left_hand_pose=pose[:, 25:40],
        right_hand_pose=pose[:, 40:],
        jaw_pose=pose[:, 22],
        transl=zeros,
        camera=Camera(1.0, (0.0, 0.0), (1, 1)),
        flat_hand_mean=True,
        body_hash=body.hash,
        valid=np.ones(1, dtype=bool),
    )
    return body.vertices(sequence)[0].astype(np.float64)


def signed_volume(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> float:
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return float((np.cross(a, b) * c).sum() / 6)


def piece_volume(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> float:
    """Volume of a piece of the closed mesh; each rim is closed by triangles to the middle of the rim."""
    half_edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    known = {tuple(edge) for edge in half_edges.tolist()}
    rim = np.array([(b, a) for a, b in sorted(known) if (b, a) not in known])
    total = signed_volume(vertices, faces)
    loop = {int(v): int(v) for v in rim.reshape(-1)}

    def root(v: int) -> int:
        while loop[v] != v:
            v = loop[v]
        return v

    for a, b in rim.tolist():
        loop[root(a)] = root(b)
    label = np.array([root(int(a)) for a in rim[:, 0]])
    for one in np.unique(label):
        edges = rim[label == one]
        middle = vertices[np.unique(edges)].mean(axis=0)
        total += float((np.cross(vertices[edges[:, 0]], vertices[edges[:, 1]]) @ middle).sum() / 6)
    return total


def test_smplx_reads_the_file_as_it_is() -> None:
    model = smplx.create(str(FREE_BODY), model_type="smplx", use_pca=False, use_face_contour=True)
    assert model().joints.shape == (1, 144, 3)


def test_the_file_is_small_and_holds_plain_arrays_and_its_licence() -> None:
    assert FREE_BODY.stat().st_size < 4_000_000
    with np.load(FREE_BODY, allow_pickle=False) as file:
        assert all(file[key].dtype != object for key in file.files)
        assert "CC0" in str(file["vividpose_licence"])
    assert (FREE_BODY.parent / "LICENSE-smplx_anny.md").is_file()


def test_joint_names_and_parents_are_those_of_smplx(body: Body) -> None:
    renamed = {"left_eye": "left_eye_smplhf", "right_eye": "right_eye_smplhf"}
    assert [renamed.get(n, n) for n in tree.JOINT_NAMES] == JOINT_NAMES[:55]
    assert tuple(body.parents) == tree.PARENTS


def test_the_mesh_is_closed_and_faces_outward(body: Body, rest: NDArray[np.float64]) -> None:
    edges = np.sort(np.concatenate([body.faces[:, [0, 1]], body.faces[:, [1, 2]], body.faces[:, [2, 0]]]), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    assert 0.05 < signed_volume(rest, body.faces) < 0.08


def test_the_rest_pose_is_symmetric(body: Body, rest: NDArray[np.float64], joints: dict) -> None:
    assert cKDTree(rest).query(rest * [-1, 1, 1])[0].max() < 2e-4
    for name, at in joints.items():
        if name.startswith("left_"):
            np.testing.assert_allclose(joints["right_" + name[5:]], at * [-1, 1, 1], atol=2e-4)


def test_the_left_arm_points_straight_along_x(joints: dict) -> None:
    shoulder, elbow, wrist = (joints[f"left_{n}"] for n in ("shoulder", "elbow", "wrist"))
    assert elbow[0] > shoulder[0] + 0.2
    assert wrist[0] > elbow[0] + 0.2
    assert np.ptp([shoulder[1], elbow[1], wrist[1]]) < 0.01
    assert np.ptp([shoulder[2], elbow[2], wrist[2]]) < 0.01


def test_hands_are_flat_with_the_palms_down(body: Body, rest: NDArray[np.float64], joints: dict) -> None:
    for finger in FINGERS[1:]:
        points = [joints[f"left_{finger}{k}"] for k in (1, 2, 3)] + [rest[IDS["l" + finger]]]
        assert np.ptp([p[1] for p in points]) < 0.01
    # The thumb side is to the front, and bending the fingers about -z closes them towards the palm, below the hand.
    assert joints["left_index1"][2] > joints["left_pinky1"][2] + 0.04
    assert joints["left_thumb3"][2] > joints["left_index1"][2]
    bent = posed(body, {f"left_{f}{k}": (0, 0, -60) for f in FINGERS[1:] for k in (1, 2)})
    for finger in FINGERS[1:]:
        assert bent[IDS["l" + finger]][1] < rest[IDS["l" + finger]][1] - 0.03


def test_legs_are_straight_and_slightly_apart(joints: dict) -> None:
    hip, knee, ankle = (joints[f"left_{n}"] for n in ("hip", "knee", "ankle"))
    assert abs(knee[0] - hip[0]) < 0.04
    assert abs(ankle[0] - hip[0]) < 0.04
    assert 0.88 < (hip[1] - knee[1]) / (knee[1] - ankle[1]) < 1.15


def test_proportions_are_those_of_a_person(rest: NDArray[np.float64], joints: dict) -> None:
    height = np.ptp(rest[:, 1])
    assert 1.6 < height < 1.8
    # The joint centres of the hips are at about half of the stature.
    assert 0.49 < (joints["left_hip"][1] - rest[:, 1].min()) / height < 0.55
    assert 0.3 < joints["left_shoulder"][0] / (joints["left_wrist"][0] - joints["left_shoulder"][0]) < 0.45
    assert joints["pelvis"] == pytest.approx([0, -0.35, 0], abs=2e-3)


def test_the_nose_is_the_foremost_point_of_the_head(body: Body, rest: NDArray[np.float64]) -> None:
    head = body.arrays["weights"][:, JOINT_NAMES.index("head")] > 0.5
    assert rest[IDS["nose"], 2] == pytest.approx(rest[head, 2].max(), abs=1e-4)
    assert abs(rest[IDS["nose"], 0]) < 1e-4


def test_eyes_and_ears_are_in_place(body: Body, rest: NDArray[np.float64], joints: dict) -> None:
    eye, ear = rest[IDS["leye"]], rest[IDS["lear"]]
    assert np.linalg.norm(eye - joints["left_eye_smplhf"]) == pytest.approx(0.016, abs=0.004)
    assert eye[2] > joints["left_eye_smplhf"][2] + 0.01
    assert ear[0] > 0.06
    assert abs(ear[1] - rest[IDS["nose"], 1]) < 0.04
    assert rest[IDS["rear"]][0] == pytest.approx(-ear[0], abs=1e-4)


def test_toes_are_ahead_of_heels_on_the_ground(rest: NDArray[np.float64]) -> None:
    floor = rest[:, 1].min()
    big, small, heel = (rest[IDS[f"L{n}"]] for n in ("BigToe", "SmallToe", "Heel"))
    assert min(big[2], small[2]) > heel[2] + 0.15
    assert small[0] > big[0] + 0.03
    assert max(big[1], small[1]) < floor + 0.03
    assert heel[1] < floor + 0.06


@pytest.mark.parametrize("finger", FINGERS)
def test_finger_tips_are_the_ends_of_their_fingers(body: Body, rest: NDArray[np.float64], finger: str) -> None:
    for side, sign in (("l", 1), ("r", -1)):
        name = f"{'left' if sign > 0 else 'right'}_{finger}3"
        own = body.arrays["weights"][:, JOINT_NAMES.index(name)] > 0.5
        reach = rest[own] @ [sign, 0, 1 if finger == "thumb" else 0]
        tip = rest[IDS[side + finger]] @ [sign, 0, 1 if finger == "thumb" else 0]
        assert own[IDS[side + finger]]
        assert tip > reach.max() - 0.006


def test_skin_weights_and_regressor_sum_to_one(body: Body) -> None:
    assert (body.arrays["weights"].sum(axis=1) == 1).all()
    np.testing.assert_allclose(body.arrays["J_regressor"].sum(axis=1), 1, atol=1e-5)


def test_the_regressor_follows_bodies_it_has_not_seen(body: Body) -> None:
    with np.load(Path(__file__).with_name("held_out_joints.npz")) as reference:
        for betas, truth in zip(reference["betas"], reference["joints"]):
            error = 1000 * np.linalg.norm(body.rest_joints(betas) - truth, axis=1)
            assert error.mean() < 3
            assert error.max() < 12


def test_shapes_of_one_deviation_are_people(body: Body) -> None:
    rng = np.random.default_rng(0)
    heights = [np.ptp(body.shaped(rng.normal(size=10).astype(np.float32))[:, 1]) for _ in range(60)]
    assert 1.55 < np.mean(heights) < 1.8
    assert 0.07 < np.std(heights) < 0.15


def test_the_first_component_is_stature_and_positive_is_taller(body: Body) -> None:
    def height(value: float) -> float:
        return float(np.ptp(body.shaped(np.float32([value] + [0] * 9))[:, 1]))

    assert height(2) - height(0) > 0.15
    assert height(0) - height(-2) > 0.15


def test_expressions_move_the_face_and_no_joint(body: Body, rest: NDArray[np.float64]) -> None:
    zero = np.zeros(10, np.float32)
    for k in range(10):
        expression = np.eye(10, dtype=np.float32)[k] * 2
        moved = np.linalg.norm(body.shaped(zero, expression) - rest, axis=1)
        assert 0.003 < moved.max() < 0.04
        assert rest[moved > 1e-3, 1].min() > 0.05
        np.testing.assert_allclose(body.rest_joints(zero, expression), body.rest_joints(zero), atol=1e-3)


def test_eyeballs_turn_with_the_eye_joints(body: Body, rest: NDArray[np.float64]) -> None:
    eye = body.arrays["weights"][:, JOINT_NAMES.index("left_eye_smplhf")] == 1
    assert eye.sum() == 72
    turned = body.module(leye_pose=torch.tensor([[0.0, 0.3, 0.0]])).vertices[0].numpy()
    moved = np.linalg.norm(turned - rest, axis=1) > 1e-4
    assert eye[moved].all()
    assert turned[IDS["leye"], 0] > rest[IDS["leye"], 0] + 0.003


def test_the_jaw_opens_downward(body: Body, rest: NDArray[np.float64]) -> None:
    landmarks = body.arrays["lmk_faces_idx"]
    lower_lip, upper_lip = (body.faces[landmarks[k - 17]] for k in (57, 51))
    opened = posed(body, {"jaw": (20, 0, 0)})
    assert opened[lower_lip, 1].mean() < rest[lower_lip, 1].mean() - 0.015
    assert abs(opened[upper_lip, 1].mean() - rest[upper_lip, 1].mean()) < 0.004


def test_face_landmarks_are_in_ibug_order(body: Body, rest: NDArray[np.float64]) -> None:
    corners = rest[body.faces[body.arrays["lmk_faces_idx"]]]
    point = dict(enumerate((corners * body.arrays["lmk_bary_coords"][..., None]).sum(axis=1), start=17))
    mirrored = {**{k: 43 - k for k in range(17, 27)}, **{k: 81 - k for k in range(36, 40)}, 40: 47, 41: 46}
    mirrored |= {31: 35, 48: 54, 60: 64}
    for right, left in mirrored.items():
        np.testing.assert_allclose(point[right], point[left] * [-1, 1, 1], atol=3e-4)
    # The person's right comes first; from top to bottom brow, eye, nose, lips.
    assert point[36][0] < point[39][0] < 0 < point[42][0] < point[45][0]
    assert point[48][0] < point[54][0]
    heights = [point[k][1] for k in (24, 43, 46, 30, 33, 51, 62, 66, 57)]
    assert heights == sorted(heights, reverse=True)
    assert abs(point[30][2] - rest[IDS["nose"], 2]) < 0.006


def test_the_face_contour_runs_from_ear_to_ear_around_the_chin(body: Body, rest: NDArray[np.float64]) -> None:
    faces, bary = body.arrays["dynamic_lmk_faces_idx"], body.arrays["dynamic_lmk_bary_coords"]
    contour = (rest[body.faces[faces]] * bary[..., None]).sum(axis=2)
    ahead = contour[0]
    assert (np.diff(ahead[:, 0]) > 0).all()
    assert ahead[:, 1].argmin() == 8
    np.testing.assert_allclose(ahead[::-1] * [-1, 1, 1], ahead, atol=5e-4)
    # Looking to the person's left (rows from 40 on) the left side shows its outline, nearer to the nose.
    assert contour[39 + 30, 14, 2] > ahead[14, 2] + 0.02
    np.testing.assert_allclose(contour[39 + 30, 2], ahead[2], atol=1e-6)


@pytest.mark.parametrize(
    ("joint", "radius", "turn"),
    [
        ("left_elbow", 0.12, (0, -90, 0)),
        ("right_elbow", 0.12, (0, 90, 0)),
        ("left_knee", 0.16, (90, 0, 0)),
        ("right_knee", 0.16, (90, 0, 0)),
        ("left_shoulder", 0.15, (0, 0, -90)),
        ("left_shoulder", 0.15, (0, -90, 0)),
        ("left_shoulder", 0.15, (0, 0, 90)),
        ("right_shoulder", 0.15, (0, 0, 90)),
        ("left_hip", 0.20, (-90, 0, 0)),
    ],
)
def test_bent_limbs_keep_their_volume(
    body: Body, rest: NDArray[np.float64], joints: dict, joint: str, radius: float, turn: tuple[float, float, float]
) -> None:
    """The piece of the mesh within `radius` of the joint at rest, closed at its rims, against the same piece bent."""
    near = np.linalg.norm(rest - joints[joint], axis=1) < radius
    piece = body.faces[near[body.faces].all(axis=1)]
    ratio = piece_volume(posed(body, {joint: turn}), piece) / piece_volume(rest, piece)
    assert 0.85 < ratio < 1.15


def test_left_and_right_bend_alike(body: Body) -> None:
    left = posed(body, {"left_shoulder": (10, -40, -50), "left_elbow": (0, -80, 0), "left_index2": (0, 0, -50)})
    right = posed(body, {"right_shoulder": (10, 40, 50), "right_elbow": (0, 80, 0), "right_index2": (0, 0, 50)})
    assert cKDTree(left * [-1, 1, 1]).query(right)[0].max() < 3e-4


def test_the_mean_hand_is_half_closed(body: Body) -> None:
    flat = posed(body, {})
    sequence_pose = {name: tuple(np.degrees(v)) for name, v in zip(JOINT_NAMES[25:40], body.hand_means[0])}
    relaxed = posed(body, sequence_pose)
    for finger in FINGERS[1:]:
        drop = flat[IDS["l" + finger], 1] - relaxed[IDS["l" + finger], 1]
        assert 0.01 < drop < 0.09
    np.testing.assert_allclose(body.hand_means[1], body.hand_means[0] * [1, -1, -1], atol=1e-6)


def test_hand_components_are_orthonormal(body: Body) -> None:
    for side in "lr":
        basis = body.arrays[f"hands_components{side}"]
        np.testing.assert_allclose(basis @ basis.T, np.eye(45), atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.0, 1.0), min_size=3, max_size=9), st.integers(0, 2**32 - 1))
def test_stored_weights_sum_to_one_exactly(row: list[float], seed: int) -> None:
    weights = np.random.default_rng(seed).random((5, len(row))) + np.array(row)
    weights /= weights.sum(axis=1, keepdims=True)
    stored = pack.quantised_weights(weights)
    assert (stored.astype(np.float64).sum(axis=1) == 1).all()
    assert np.abs(stored - weights).max() <= 1 / pack.WEIGHT_STEPS


def test_the_same_arrays_are_the_same_bytes_at_any_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = {"a": np.arange(10.0), "b": np.zeros((2, 2), np.float16)}
    pack.write(tmp_path / "1.npz", arrays)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    pack.write(tmp_path / "2.npz", arrays)
    assert (tmp_path / "1.npz").read_bytes() == (tmp_path / "2.npz").read_bytes()


def test_a_sequence_keeps_its_body_when_only_the_shape_changes(body: Body) -> None:
    taller = np.float32([2] + [0] * 9)
    rest = body.rest_joints(np.zeros(10, np.float32))
    assert body.rest_joints(taller)[15, 1] > rest[15, 1] + 0.03
    np.testing.assert_allclose(body.rest_joints(taller)[0], rest[0], atol=3e-3)


def test_shape_of_the_sequence_is_used(body: Body) -> None:
    zeros = np.zeros((1, 3), dtype=np.float32)
    base = BodySequence(
        np.zeros(10, np.float32), np.zeros((1, 10), np.float32), zeros, np.zeros((1, 21, 3), np.float32),
        np.zeros((1, 15, 3), np.float32), np.zeros((1, 15, 3), np.float32), zeros, zeros,
        Camera(1.0, (0.0, 0.0), (1, 1)), True, body.hash, np.ones(1, dtype=bool),
    )  # fmt: skip
    betas = np.float32([1, -1, 0.5, 0, 0, 0, 0, 0, 0, 2])
    np.testing.assert_allclose(body.vertices(replace(base, betas=betas))[0], body.shaped(betas), atol=2e-6)
