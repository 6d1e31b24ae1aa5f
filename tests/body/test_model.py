"""Any SMPL-X file: loading, posing, and saying what is wrong with it."""

from __future__ import annotations

import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.body.model import FREE_BODY, Body, BodyFileError, load_body
from pipelines.body.parts import PART_NAMES
from pipelines.clip import BodySequence, Camera
from tests.body.conformance import smplx_arrays, write_smplx_file


@pytest.fixture(scope="module")
def free() -> Body:
    return load_body()


@pytest.fixture(scope="module")
def free_arrays() -> dict[str, np.ndarray]:
    with np.load(FREE_BODY) as file:
        return dict(file)


@pytest.fixture(scope="module")
def licensed_like(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_smplx_file(tmp_path_factory.mktemp("body") / "SMPLX_NEUTRAL.npz")


def random_sequence(body: Body, frames: int = 5, flat: bool = False, size: float = 0.5) -> BodySequence:
    rng = np.random.default_rng(3)

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(0, size, shape).astype(np.float32)

    return BodySequence(
        betas=2 * draw(10),
        expression=2 * draw(frames, 10),
        global_orient=2 * draw(frames, 3),
        body_pose=draw(frames, 21, 3),
        left_hand_pose=draw(frames, 15, 3),
        right_hand_pose=draw(frames, 15, 3),
        jaw_pose=draw(frames, 3),
        transl=4 * draw(frames, 3),
        camera=Camera(1000.0, (256.0, 384.0), (512, 768)),
        flat_hand_mean=flat,
        body_hash=body.hash,
        valid=np.ones(frames, dtype=bool),
    )


def by_smplx(body: Body, sequence: BodySequence) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and joints by the `smplx` package."""
    frames = len(sequence)
    hands = [sequence.left_hand_pose, sequence.right_hand_pose]
    if not sequence.flat_hand_mean:
        hands = [pose + mean for pose, mean in zip(hands, body.hand_means)]

    def flat(array: np.ndarray) -> torch.Tensor:
        return torch.tensor(array).reshape(frames, -1)

    out = body.module(
        betas=torch.tensor(sequence.betas).expand(frames, -1),
        expression=flat(sequence.expression),
        global_orient=flat(sequence.global_orient),
        body_pose=flat(sequence.body_pose),
        left_hand_pose=flat(hands[0]),
        right_hand_pose=flat(hands[1]),
        jaw_pose=flat(sequence.jaw_pose),
        leye_pose=torch.zeros(frames, 3),
        reye_pose=torch.zeros(frames, 3),
        transl=flat(sequence.transl),
    )
    return out.vertices.numpy(), out.joints.numpy()


@pytest.mark.parametrize("flat", [True, False])
def test_vertices_equal_those_of_smplx(free: Body, flat: bool) -> None:
    sequence = random_sequence(free, flat=flat)
    np.testing.assert_allclose(free.vertices(sequence), by_smplx(free, sequence)[0], atol=2e-5)


def test_joints_equal_those_of_smplx_up_to_the_face_contour(free: Body) -> None:
    sequence = random_sequence(free)
    np.testing.assert_allclose(free.joints(sequence)[:, :127], by_smplx(free, sequence)[1][:, :127], atol=2e-5)


def test_the_contour_is_that_of_smplx_when_the_head_looks_ahead(free: Body) -> None:
    sequence = random_sequence(free, size=0.0)
    np.testing.assert_allclose(free.joints(sequence)[:, 127:], by_smplx(free, sequence)[1][:, 127:], atol=2e-5)


def test_a_file_of_the_licensed_size_is_posed_as_smplx_poses_it(licensed_like: Path) -> None:
    body = load_body(licensed_like)
    sequence = random_sequence(body, frames=2)
    vertices, joints = by_smplx(body, sequence)
    assert body.vertices(sequence).shape == (2, 10475, 3)
    np.testing.assert_allclose(body.vertices(sequence), vertices, atol=1e-4)
    np.testing.assert_allclose(body.joints(sequence)[:, :127], joints[:, :127], atol=1e-4)


def test_expressions_of_a_400_column_file_start_at_column_300(licensed_like: Path) -> None:
    shapedirs = smplx_arrays()["shapedirs"]
    expected = np.concatenate([shapedirs[..., :10], shapedirs[..., 300:310]], axis=-1)
    np.testing.assert_array_equal(load_body(licensed_like).arrays["shapedirs"], expected.astype(np.float32))


def test_frames_can_be_chosen(free: Body) -> None:
    sequence = random_sequence(free, frames=40)
    np.testing.assert_array_equal(free.vertices(sequence)[35:37], free.vertices(sequence, slice(35, 37)))
    np.testing.assert_array_equal(free.joints(sequence)[::7], free.joints(sequence, slice(None, None, 7)))


def test_the_same_call_gives_the_same_bytes(free: Body) -> None:
    sequence = random_sequence(free)
    assert free.vertices(sequence).tobytes() == load_body().vertices(sequence).tobytes()


def test_a_shape_of_another_file_is_refused(free: Body) -> None:
    foreign = replace(random_sequence(free), body_hash="0" * 64)
    with pytest.raises(ValueError, match="do not carry over"):
        free.vertices(foreign)


def test_a_shape_per_frame_is_refused(free: Body) -> None:
    sequence = random_sequence(free)
    with pytest.raises(ValueError, match="one shape per clip"):
        free.vertices(sequence.with_shape(np.zeros((len(sequence), 10))))


def test_licences_are_told_apart(free: Body, licensed_like: Path) -> None:
    assert "CC0" in free.licence
    assert "non-commercial" in load_body(licensed_like).licence


def test_parts_come_from_the_skin_weights_of_any_file(free: Body, licensed_like: Path) -> None:
    for body in (free, load_body(licensed_like)):
        seen = {PART_NAMES[label] for label in np.unique(body.vertex_parts)}
        assert seen == set(PART_NAMES) - {"background"}
        assert body.face_parts.shape == (len(body.faces),)


class _Bomb:
    def __reduce__(self) -> tuple:
        return (pytest.fail, ("an untrusted file was unpickled",))


def _bomb() -> np.ndarray:
    array = np.empty((), dtype=object)
    array[()] = _Bomb()
    return array


def test_pickled_arrays_that_are_not_needed_are_never_opened(
    tmp_path: Path, free_arrays: dict[str, np.ndarray]
) -> None:
    np.savez(tmp_path / "x.npz", **free_arrays, part2num=_bomb(), joint2num=_bomb())
    assert load_body(tmp_path / "x.npz").module.get_num_verts() == 13492


def test_a_needed_array_that_is_pickled_is_refused(tmp_path: Path, free_arrays: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "x.npz", **{**free_arrays, "posedirs": _bomb()})
    with pytest.raises(BodyFileError, match="posedirs is stored as a pickled Python object"):
        load_body(tmp_path / "x.npz")


def test_a_trusted_file_with_pickled_numbers_is_still_checked(
    tmp_path: Path, free_arrays: dict[str, np.ndarray]
) -> None:
    np.savez(tmp_path / "x.npz", **{**free_arrays, "J_regressor": np.empty(1, dtype=object)})
    with pytest.raises(BodyFileError, match="J_regressor holds Python objects"):
        load_body(tmp_path / "x.npz", trust_pickle=True)


def test_a_missing_file_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="registration"):
        load_body(tmp_path / "SMPLX_NEUTRAL.npz")


def test_missing_arrays_are_named(tmp_path: Path, free_arrays: dict[str, np.ndarray]) -> None:
    left = {key: value for key, value in free_arrays.items() if key not in ("posedirs", "hands_meanl")}
    np.savez(tmp_path / "x.npz", **left)
    with pytest.raises(BodyFileError, match="lacks the arrays posedirs, hands_meanl"):
        load_body(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("v_template", np.zeros((13492, 2)), r"v_template has shape \(13492, 2\), expected \(13492, 3\)"),
        ("weights", np.zeros((13492, 24)), r"weights has shape \(13492, 24\), expected \(13492, 55\)"),
        ("v_template", np.full((13492, 3), np.nan), "v_template .* holds NaN"),
        ("f", np.full((26972, 3), 20000), "f points outside 0..13491"),
        ("shapedirs", np.zeros((13492, 3, 16)), "shapedirs has 16 columns"),
        ("kintree_table", np.tile(np.arange(55), (2, 1)), "kintree_table is no tree"),
    ],
)
def test_wrong_arrays_are_named(
    tmp_path: Path, free_arrays: dict[str, np.ndarray], key: str, value: np.ndarray, message: str
) -> None:
    np.savez(tmp_path / "x.npz", **{**free_arrays, key: value})
    with pytest.raises(BodyFileError, match=message):
        load_body(tmp_path / "x.npz")


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(FREE_BODY.read_bytes()[:500_000])
    with pytest.raises(BodyFileError, match="is not an npz"):
        load_body(path)


def test_damaged_bytes_are_named(tmp_path: Path) -> None:
    damaged = bytearray(FREE_BODY.read_bytes())
    with zipfile.ZipFile(FREE_BODY) as file:
        start = file.getinfo("shapedirs.npy").header_offset
    damaged[start + 2000 : start + 3000] = bytes(1000)
    path = tmp_path / "x.npz"
    path.write_bytes(damaged)
    with pytest.raises(BodyFileError, match="cannot be read"):
        load_body(path)


@pytest.mark.parametrize("content", [b"", b"not an npz", pickle.dumps({"v_template": 1})])
def test_a_file_of_another_kind_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "SMPLX_NEUTRAL.npz"
    path.write_bytes(content)
    with pytest.raises(BodyFileError):
        load_body(path)


def test_a_single_array_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with path.open("wb") as out:
        np.save(out, np.zeros(3))
    with pytest.raises(BodyFileError, match="is not an npz"):
        load_body(path)
