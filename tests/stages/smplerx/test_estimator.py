from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from pipelines.body.model import Body, load_body
from pipelines.body.raster import rasterise
from pipelines.clip import BodySequence, Camera
from pipelines.stages.smplerx import NobodyThere, SmplerX
from pipelines.stages.smplerx.crop import Crop, crop_of
from pipelines.stages.smplerx.network import Estimate
from tests.stages.smplerx.published import waves

SIZE = (250, 350)
FRAMES = np.stack([waves(*SIZE), waves(*SIZE)[:, ::-1], waves(*SIZE)[::-1], 255 - waves(*SIZE)])
BOXES = np.array([[40, 30, 160, 320], [50, 30, 170, 310], [np.nan] * 4, [60, 20, 190, 330]], np.float32)


@pytest.fixture(scope="module")
def smplerx(checkpoint: Path, smplx_body: Body) -> SmplerX:
    return SmplerX(checkpoint, smplx_body, batch=2)


@pytest.fixture(scope="module")
def sequence(smplerx: SmplerX) -> BodySequence:
    return smplerx(FRAMES, BOXES, SIZE)


def test_a_clip_becomes_a_body_sequence_of_the_body_s_file(sequence: BodySequence, smplx_body: Body) -> None:
    assert sequence.body_hash == smplx_body.hash
    assert sequence.flat_hand_mean is False
    assert sequence.camera.size == SIZE
    shapes = {
        "betas": (10,), "expression": (4, 10), "global_orient": (4, 3), "body_pose": (4, 21, 3), "jaw_pose": (4, 3),
        "left_hand_pose": (4, 15, 3), "right_hand_pose": (4, 15, 3), "transl": (4, 3),
    }  # fmt: skip
    for name, shape in shapes.items():
        values = getattr(sequence, name)
        assert values.shape == shape
        assert values.dtype == np.float32
        assert np.isfinite(values).all()


def test_frames_without_the_person_are_filled_and_not_valid(sequence: BodySequence) -> None:
    assert sequence.valid.tolist() == [True, True, False, True]
    np.testing.assert_allclose(sequence.transl[2], (sequence.transl[1] + sequence.transl[3]) / 2, rtol=1e-4)


def test_chunks_and_batches_do_not_change_the_result(
    checkpoint: Path, smplx_body: Body, sequence: BodySequence
) -> None:
    other = SmplerX(checkpoint, smplx_body, batch=3)(iter([FRAMES[:1], FRAMES[1:]]), BOXES, SIZE)
    for name in ("betas", "body_pose", "left_hand_pose", "transl"):
        np.testing.assert_allclose(getattr(other, name), getattr(sequence, name), atol=2e-3)


def test_the_same_clip_gives_the_same_bytes(smplerx: SmplerX, sequence: BodySequence) -> None:
    again = smplerx(FRAMES, BOXES, SIZE)
    for name in ("betas", "global_orient", "body_pose", "left_hand_pose", "transl", "expression"):
        assert getattr(again, name).tobytes() == getattr(sequence, name).tobytes()


def test_another_body_s_shape_space_is_refused(checkpoint: Path) -> None:
    with pytest.raises(ValueError, match=r"10475 vertices.*give your SMPLX_NEUTRAL\.npz"):
        SmplerX(checkpoint, load_body())


def test_a_clip_without_the_person_says_so(smplerx: SmplerX) -> None:
    with pytest.raises(NobodyThere, match="none of the 4 frames") as told:
        smplerx(FRAMES, np.full((4, 4), np.nan, np.float32), SIZE)
    assert told.value.reason == "no_person"


def test_a_frame_of_another_size_is_an_error(smplerx: SmplerX) -> None:
    with pytest.raises(ValueError, match="one size per clip"):
        smplerx(iter([FRAMES[:1], FRAMES[1:2, :300]]), BOXES[:2], SIZE)
    with pytest.raises(ValueError, match="frame 0 is 250x350, expected 350x250"):
        smplerx(FRAMES, BOXES, SIZE[::-1])


@pytest.mark.parametrize("count", [3, 5])
def test_frames_and_boxes_must_be_equally_many(smplerx: SmplerX, count: int) -> None:
    with pytest.raises(ValueError, match="boxes"):
        smplerx(FRAMES, BOXES[np.arange(count) % 2], SIZE)


def test_values_that_are_not_finite_are_named(smplerx: SmplerX, monkeypatch: pytest.MonkeyPatch) -> None:
    right = smplerx.run

    def broken(images: torch.Tensor) -> Estimate:
        estimate = right(images)
        return replace(estimate, betas=torch.full_like(estimate.betas, torch.nan))

    monkeypatch.setattr(smplerx, "run", broken)
    with pytest.raises(ArithmeticError, match="betas that is not finite in frame 0"):
        smplerx(FRAMES, BOXES, SIZE)


# Known geometry: what the network would say of a known body, brought to the picture.


def said(body: Body, betas: np.ndarray, boxes: list[Crop], depth: float) -> Estimate:
    """Estimates of a body with its pelvis in the middle of each crop, turned a little differently every time."""
    count = len(boxes)
    rng = np.random.default_rng(0)
    turn = Rotation.from_rotvec([np.pi, 0, 0]) * Rotation.from_rotvec(rng.normal(0, 0.3, (count, 3)))

    def rotations(joints: int) -> torch.Tensor:
        return torch.from_numpy(Rotation.from_rotvec(rng.normal(0, 0.2, (count * joints, 3))).as_matrix()).float()

    pelvis = np.stack([body.rest_joints(row.astype(np.float32))[0] for row in betas])
    return Estimate(
        global_orient=torch.from_numpy(turn.as_matrix()).float(),
        body_pose=rotations(21).view(count, 21, 3, 3),
        left_hand_pose=rotations(15).view(count, 15, 3, 3),
        right_hand_pose=rotations(15).view(count, 15, 3, 3),
        jaw_pose=rotations(1),
        betas=torch.from_numpy(betas).float(),
        expression=torch.zeros(count, 10),
        cam_trans=torch.from_numpy(np.array([0.02, 0.05, depth]) - pelvis).float(),
        boxes=torch.zeros(count, 3, 4),
    )


def published_pixels(body: Body, estimate: Estimate, index: int, crop: Crop) -> np.ndarray:
    """Where the published code draws the joints (55, 2): its own camera and the frame's own shape."""

    def vectors(rotations: torch.Tensor) -> np.ndarray:
        return Rotation.from_matrix(rotations[index].reshape(-1, 3, 3).double().numpy()).as_rotvec().astype(np.float32)

    alone = BodySequence(
        betas=estimate.betas[index].numpy(),
        expression=estimate.expression[index : index + 1].numpy(),
        global_orient=vectors(estimate.global_orient),
        body_pose=vectors(estimate.body_pose)[None],
        left_hand_pose=vectors(estimate.left_hand_pose)[None],
        right_hand_pose=vectors(estimate.right_hand_pose)[None],
        jaw_pose=vectors(estimate.jaw_pose),
        transl=estimate.cam_trans[index : index + 1].numpy(),
        camera=Camera(1.0, (0.0, 0.0), SIZE),
        flat_hand_mean=False,
        body_hash=body.hash,
        valid=np.ones(1, bool),
    )
    joints = body.joints(alone)[0, :55]
    in_input = 5000 * joints[:, :2] / joints[:, 2:] + [96, 128]
    # The published code counts the input's pixels from the middle of the first.
    return crop.to_frame(in_input + 0.5)


def test_joints_come_to_the_pixels_at_which_the_crop_s_camera_sees_them(smplerx: SmplerX) -> None:
    """From three cameras and three shapes to one of each."""
    body = smplerx.body
    crops = [crop_of(box, SIZE) for box in ([60, 40, 160, 310], [90, 60, 200, 330], [20, 30, 140, 320])]
    known = [crop for crop in crops if crop is not None]
    betas = np.array([[0.5, -0.2] + [0] * 8, [0.8, 0.1] + [0] * 8, [0.2, 0.0] + [0] * 8])
    estimate = said(body, betas, known, depth=40.0)
    sequence = smplerx._sequence([estimate], crops, SIZE, None)
    expected = np.stack([published_pixels(body, estimate, index, crop) for index, crop in enumerate(known)])
    seen = sequence.camera.project(body.joints(sequence)[:, :55])
    np.testing.assert_allclose(seen[:, 0], expected[:, 0], atol=0.05)
    # One shape for all three frames is what is left.
    assert np.linalg.norm(seen - expected, axis=2).max() < 2


def test_every_joint_comes_back_within_half_a_pixel(smplerx: SmplerX) -> None:
    crops = [crop_of(box, SIZE) for box in ([75, 40, 175, 310], [45, 60, 135, 300])]
    known = [crop for crop in crops if crop is not None]
    estimate = said(smplerx.body, np.zeros((2, 10)), known, depth=40.0)
    sequence = smplerx._sequence([estimate], crops, SIZE, None)
    seen = sequence.camera.project(smplerx.body.joints(sequence)[:, :55])
    for index, crop in enumerate(known):
        np.testing.assert_allclose(seen[index], published_pixels(smplerx.body, estimate, index, crop), atol=0.5)


def test_a_camera_of_another_focal_length_keeps_the_pelvis_and_the_size(smplerx: SmplerX) -> None:
    crops = [crop_of(box, SIZE) for box in ([75, 40, 175, 310], [45, 60, 135, 300])]
    known = [crop for crop in crops if crop is not None]
    estimate = said(smplerx.body, np.zeros((2, 10)), known, depth=40.0)
    sequence = smplerx._sequence([estimate], crops, SIZE, 420.0)
    assert sequence.camera.focal == 420
    seen = sequence.camera.project(smplerx.body.joints(sequence)[:, :55])
    expected = np.stack([published_pixels(smplerx.body, estimate, index, crop) for index, crop in enumerate(known)])
    np.testing.assert_allclose(seen[:, 0], expected[:, 0], atol=0.05)
    # About 230 pixels high and now 3 m away instead of 40: what is held out towards the camera is seen larger.
    assert np.median(np.linalg.norm(seen - expected, axis=2)) < 0.04 * 230


def test_a_rendered_body_s_joints_survive_crop_and_affine() -> None:
    """The free body drawn into a frame, and again where its joints go in the crop: both pictures agree."""
    body = load_body()
    size = (512, 768)
    camera = Camera(900.0, (256.0, 384.0), size)
    zeros = {name: np.zeros(shape, np.float32) for name, shape in
             {"betas": (10,), "expression": (1, 10), "body_pose": (1, 21, 3), "left_hand_pose": (1, 15, 3),
              "right_hand_pose": (1, 15, 3), "jaw_pose": (1, 3)}.items()}  # fmt: skip
    sequence = BodySequence(
        **zeros, global_orient=np.array([[np.pi, 0, 0]], np.float32), transl=np.array([[0.1, 0.2, 3.2]], np.float32),
        camera=camera, flat_hand_mean=True, body_hash=body.hash, valid=np.ones(1, bool),
    )  # fmt: skip
    vertices, joints = body.vertices(sequence)[0], body.joints(sequence)[0, :55]
    mask = rasterise(vertices, body.faces.astype(np.int32), camera).mask
    rows, columns = np.nonzero(mask)
    crop = crop_of([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], size)
    assert crop is not None
    cut = crop.cut(np.repeat((mask * np.uint8(255))[..., None], 3, axis=2))[..., 0] > 0.5
    scale = float(crop.scale[0])
    # The same body by the camera that the crop is.
    principal = crop.to_input(camera.principal)
    zoomed = Camera(camera.focal * scale, (float(principal[0]), float(principal[1])), (192, 256))
    expected = rasterise(vertices, body.faces.astype(np.int32), zoomed).mask
    assert (cut & expected).sum() / (cut | expected).sum() > 0.97
    middles = [np.array([xs.mean(), ys.mean()]) for ys, xs in (np.nonzero(cut), np.nonzero(expected))]
    np.testing.assert_allclose(middles[0], middles[1], atol=0.1)
    pixels = camera.project(joints)
    np.testing.assert_allclose(crop.to_input(pixels), zoomed.project(joints), atol=1e-3)
    np.testing.assert_allclose(crop.to_frame(zoomed.project(joints)), pixels, atol=0.5)
