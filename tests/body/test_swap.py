"""Shape swapping against bodies that really do the driver's motion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.body.fit import FitConfig, fit_sequence
from pipelines.body.kinematics import WHOLEBODY
from pipelines.body.model import Body, load_body
from pipelines.body.raster import Mesh, Rasteriser
from pipelines.body.swap import SwapConfig, size_ratio, swap, swapped_keypoints
from pipelines.body.swap_sheet import preview_sheet
from pipelines.clip import BodySequence, Camera
from tests.body.body_motions import CAMERA, SIZE, dance, hop, observed

SMALL = np.array([-1.6, 1.5, 0.5, 0, 0.8, 0, 0, 0, 0, 0], np.float32)
TALL = np.array([1.6, -1.0, 0, 0.6, 0, 0.5, 0, 0, 0, 0], np.float32)
LOWEST = slice(60, 66)  # toes and heels
CLOSE = Camera(1.2 * 768, (256.0, 700.0), SIZE)


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


def one(sequence: BodySequence) -> BodySequence:
    """The first frame as a reference picture's sequence."""
    poses = ("global_orient", "body_pose", "left_hand_pose", "right_hand_pose", "jaw_pose")
    names = (*poses, "expression", "transl", "valid")
    return replace(sequence, **{name: getattr(sequence, name)[:1] for name in names})


def standing(body: Body, betas: NDArray[np.float32], depth: float = 4.0, camera: Camera = CAMERA) -> BodySequence:
    return one(dance(body, 1, betas, depth=depth, camera=camera))


def silhouettes(body: Body, sequence: BodySequence, frames: list[int]) -> NDArray[np.bool_]:
    """(n, H, W): what the body covers of its camera's picture."""
    rasteriser, faces = Rasteriser(), body.faces.astype(np.int32)
    meshes = [Mesh(body.vertices(sequence, slice(t, t + 1))[0], faces) for t in frames]
    return np.stack([rasteriser.draw(mesh, sequence.camera).alpha > 127 for mesh in meshes])


def overlap(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


def doing(body: Body, motion: BodySequence, betas: NDArray[np.float32]) -> BodySequence:
    """Another body that does the same motion on the same ground: steps as much longer as its legs are."""
    ratio = size_ratio(body, betas, motion.betas)
    same = replace(motion, betas=betas)
    here, there = body.joints(same), body.joints(motion)
    shift = ratio * (there[:, 0] - there[:1, 0]) - (here[:, 0] - here[:1, 0])
    low, other_low = here[:, LOWEST, 1].max(1), there[:, LOWEST, 1].max(1)
    shift[:, 1] = ratio * (other_low - other_low[0]) - (low - low[0])
    return replace(same, transl=motion.transl + shift)


def test_a_swapped_body_is_the_reference_doing_the_motion(body: Body, capsys: pytest.CaptureFixture[str]) -> None:
    motion = dance(body, 24, TALL)
    truth = doing(body, motion, SMALL)
    swapped = swap(one(truth), motion, body)
    frames = [0, 5, 11, 17, 23]
    exact = silhouettes(body, truth, frames)
    after = overlap(exact, silhouettes(body, swapped, frames))
    before = overlap(exact, silhouettes(body, motion, frames))
    with capsys.disabled():
        print(f"\nsilhouette IoU with the reference doing the motion: swapped {after:.4f}, unswapped {before:.4f}")
    assert after >= 0.97
    assert before < 0.85


@pytest.mark.slow
def test_a_swap_between_fitted_bodies_is_the_reference_doing_the_motion(
    body: Body, capsys: pytest.CaptureFixture[str]
) -> None:
    motion = dance(body, 24, TALL)
    truth = doing(body, motion, SMALL)
    driving = fit_sequence(body, observed(body, motion), SIZE).sequence
    reference = fit_sequence(body, observed(body, one(truth)), SIZE).sequence
    frames = [0, 5, 11, 17, 23]
    exact = silhouettes(body, truth, frames)
    after = overlap(exact, silhouettes(body, swap(reference, driving, body), frames))
    before = overlap(exact, silhouettes(body, motion, frames))
    with capsys.disabled():
        print(f"\nthe same with both bodies fitted to key points: swapped {after:.4f}, unswapped {before:.4f}")
    assert after > 0.85
    assert before < after - 0.1


def test_shape_and_expression_are_the_references_and_pose_is_the_drivers(body: Body) -> None:
    motion, reference = dance(body, 3, TALL), standing(body, SMALL)
    reference.expression[:] = 0.7
    swapped = swap(reference, motion, body)
    assert (swapped.betas == SMALL).all()
    assert (swapped.expression == np.float32(0.7)).all()
    assert (swapped.body_pose == motion.body_pose).all()
    assert (swapped.jaw_pose == motion.jaw_pose).all()
    kept = swap(reference, motion, body, SwapConfig(expression="driving"))
    assert (kept.expression == motion.expression).all()


def test_the_picture_is_the_references(body: Body) -> None:
    camera = Camera(500.0, (160.0, 240.0), (320, 480))
    swapped = swap(standing(body, SMALL, camera=camera), dance(body, 3, TALL), body)
    assert swapped.camera == camera


def test_the_first_frame_stands_where_the_reference_stands(body: Body) -> None:
    reference = standing(body, SMALL, depth=5.0)
    swapped = swap(reference, dance(body, 4, TALL), body)
    assert np.abs(body.joints(swapped)[0, 0] - body.joints(reference)[0, 0]).max() < 0.06


def test_feet_stay_on_the_ground_when_legs_are_shorter(body: Body) -> None:
    reference = standing(body, SMALL)
    swapped = swap(reference, dance(body, 24, TALL), body)
    above = body.joints(reference)[0, LOWEST, 1].max() - body.joints(swapped)[:, LOWEST, 1].max(1)
    assert np.allclose(above, hop(24) * size_ratio(body, SMALL, TALL), atol=1e-4)


def test_the_drivers_walk_is_kept_in_the_references_size(body: Body) -> None:
    motion = dance(body, 24, TALL)
    swapped = swap(standing(body, SMALL), motion, body)
    walked, expected = (np.ptp(body.joints(s)[:, 0], axis=0)[[0, 2]] for s in (swapped, motion))
    assert np.allclose(walked / expected, size_ratio(body, SMALL, TALL), atol=1e-3)


def test_a_half_body_keeps_its_framing(body: Body) -> None:
    reference = standing(body, SMALL, depth=1.4, camera=CLOSE)
    swapped = swap(reference, dance(body, 8, TALL), body)
    neck, before = (s.camera.project(body.joints(s)[0, 12]) for s in (swapped, reference))
    assert np.abs(neck - before).max() < 1.0


def test_a_half_body_that_leans_keeps_its_pelvis_in_place(body: Body) -> None:
    reference = standing(body, SMALL, depth=1.4, camera=CLOSE)
    leaning = reference.body_pose.copy()
    leaning[:, 2, 2] = 0.5
    reference = replace(reference, body_pose=leaning)
    swapped = swap(reference, dance(body, 8, TALL), body)
    pelvis, before = (s.camera.project(body.joints(s)[0, 0]) for s in (swapped, reference))
    assert np.abs(pelvis - before).max() < 1.0


def test_a_half_body_drives_a_full_body(body: Body) -> None:
    motion = dance(body, 8, TALL, depth=1.4, camera=CLOSE)
    swapped = swap(standing(body, SMALL), motion, body)
    points = swapped.camera.project(body.joints(swapped))
    assert (points > 0).all()
    assert (points < np.array(SIZE)).all()


def test_both_maps_agree(body: Body) -> None:
    motion = dance(body, 3, TALL)
    driving = observed(body, motion)
    driving.scores[1, 9] = 0.25
    swapped = swap(standing(body, SMALL), motion, body)
    keypoints = swapped_keypoints(body, swapped, driving)
    expected = swapped.camera.project(body.joints(swapped)[:, WHOLEBODY])
    assert np.abs(keypoints.points - expected).max() < 1e-3
    assert keypoints.scores[1, 9] == np.float32(0.25)
    assert (keypoints.boxes[:, 0] < keypoints.boxes[:, 2]).all()


def test_points_outside_the_picture_are_unseen(body: Body) -> None:
    motion = dance(body, 3, TALL)
    swapped = swap(standing(body, SMALL, depth=1.4, camera=CLOSE), motion, body)
    keypoints = swapped_keypoints(body, swapped, observed(body, motion))
    assert (keypoints.scores[:, 15:23] == 0).all()
    assert (keypoints.scores[:, 0] > 0).all()
    assert np.isfinite(keypoints.points).all()


def test_shapes_of_two_files_do_not_mix(body: Body) -> None:
    other = replace(standing(body, SMALL), body_hash="0" * 64)
    with pytest.raises(ValueError, match="same file"):
        swap(other, dance(body, 2, TALL), body)


def test_a_reference_without_a_person_is_refused(body: Body) -> None:
    nobody = replace(standing(body, SMALL), valid=np.zeros(1, bool))
    with pytest.raises(ValueError, match="no valid frame"):
        swap(nobody, dance(body, 2, TALL), body)


def test_a_quick_fit_can_be_swapped(body: Body) -> None:
    motion = dance(body, 6, TALL)
    fitted = fit_sequence(body, observed(body, motion), SIZE, FitConfig(iterations=20)).sequence
    assert len(swap(standing(body, SMALL), fitted, body)) == 6


def test_the_preview_shows_every_map_of_every_moment(body: Body) -> None:
    motion = dance(body, 3, TALL)
    reference = standing(body, SMALL)
    picture = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
    frames = np.full((3, SIZE[1], SIZE[0], 3), 160, np.uint8)
    swapped = swap(reference, motion, body)
    sheet = preview_sheet(body, picture, reference, frames, motion, observed(body, motion), swapped, 3, 90)
    assert sheet.shape == (5 * 90, 4 * 60, 3)
    assert (sheet[:90, :60] == 90).all()
    shown = np.asarray(sheet.reshape(5, 90, 4, 60, 3).any(axis=(1, 3, 4)))
    assert shown[:, 1:].all()
    assert shown[:, 0].tolist() == [True, True, False, False, False]
