"""133 key points: right places, right sides, whatever the clip does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.clip import BODY, FACE, FEET, LEFT_HAND, RIGHT_HAND, Keypoints
from pipelines.stages.blazepose import weights
from pipelines.stages.blazepose.coco_wholebody import COCO_FROM_POSE, IBUG_FROM_MESH, assemble, small_toe
from pipelines.stages.blazepose.nets import Net
from pipelines.stages.blazepose.pose import Pose
from pipelines.stages.blazepose.roi import Roi
from pipelines.stages.keypoints_blazepose import BlazePoseWholeBody
from tests.stages.clips import read_clip
from tests.stages.drawn_person import add_person, drawn_joints, drawn_person

WIDTH, HEIGHT = 360, 480
BOX = np.array([70, 20, 335, 455], np.float32)
NOBODY = np.full(4, np.nan, np.float32)


def run(net: BlazePoseWholeBody, frames: list[np.ndarray], boxes: list[np.ndarray]) -> Keypoints:
    keypoints = net(np.stack(frames), np.stack(boxes))
    assert np.isfinite(keypoints.points).all()
    assert ((keypoints.scores >= 0) & (keypoints.scores <= 1)).all()
    return keypoints


@pytest.mark.parametrize(
    ("width", "height", "at", "tall"),
    [
        (360, 480, (0.5, 0.5), 0.85),
        (640, 360, (0.25, 0.5), 0.9),
        (270, 480, (0.55, 0.55), 0.6),
        (1280, 720, (0.7, 0.5), 0.5),
    ],
)
def test_drawn_joints_are_found(
    whole_body: BlazePoseWholeBody, width: int, height: int, at: tuple[float, float], tall: float
) -> None:
    frame = drawn_person(width, height, at, tall)
    x, y = at[0] * width, at[1] * height
    reach = tall * height / 2
    box = np.array([x - 0.6 * reach, y - reach, x + 0.6 * reach, y + reach], np.float32)
    keypoints = run(whole_body, [frame, frame], [box, box])
    for joint, place in drawn_joints(width, height, at, tall).items():
        distance = np.linalg.norm(keypoints.points[1, joint] - place)
        assert distance < 0.035 * tall * height, joint
        assert keypoints.scores[1, joint] > 0.5, joint


def test_a_mirrored_frame_gives_mirrored_points_with_sides_swapped(whole_body: BlazePoseWholeBody) -> None:
    frame = drawn_person(WIDTH, HEIGHT)
    flipped = np.ascontiguousarray(frame[:, ::-1])
    box = BOX[[2, 1, 0, 3]] * np.array([-1, 1, -1, 1]) + np.array([WIDTH, 0, WIDTH, 0])
    points = run(whole_body, [frame], [BOX]).points[0]
    mirrored = run(whole_body, [flipped], [box]).points[0] * np.array([-1, 1]) + np.array([WIDTH, 0])
    for left, right in ((5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16), (17, 20), (19, 22)):
        np.testing.assert_allclose(points[left], mirrored[right], atol=12)


def test_the_lifted_arm_is_the_left_one(whole_body: BlazePoseWholeBody) -> None:
    keypoints = run(whole_body, [drawn_person(WIDTH, HEIGHT, arm=1.6)], [BOX])
    left, right = keypoints.points[0, 9], keypoints.points[0, 10]
    assert left[0] > right[0]
    assert left[1] < right[1] - 80


def test_world_landmarks_follow_the_camera_axes(whole_body: BlazePoseWholeBody) -> None:
    world = run(whole_body, [drawn_person(WIDTH, HEIGHT)], [BOX]).world
    assert world is not None
    left_shoulder, right_shoulder, hips, nose = world[0, 11], world[0, 12], world[0, 23:25].mean(axis=0), world[0, 0]
    assert left_shoulder[0] > right_shoulder[0]  # x to the right, and the person faces the camera
    assert left_shoulder[1] < hips[1] - 0.2  # y down, metres
    assert nose[2] < world[0, 7:9, 2].mean()  # z away: the nose is nearer than the ears
    np.testing.assert_allclose(hips, 0, atol=0.05)


def test_nothing_is_found_in_black_frames(whole_body: BlazePoseWholeBody) -> None:
    keypoints = run(whole_body, [np.zeros((90, 160, 3), np.uint8)] * 2, [np.array([10, 10, 100, 80])] * 2)
    assert keypoints.scores.max() == 0
    assert keypoints.world is not None
    assert np.isnan(keypoints.world).all()


@pytest.mark.parametrize("shape", [(1, 1), (2, 7), (8, 8), (16, 300)])
def test_tiny_frames_are_no_trouble(whole_body: BlazePoseWholeBody, shape: tuple[int, int]) -> None:
    box = np.array([0, 0, shape[1], shape[0]], np.float32)
    assert run(whole_body, [np.zeros((*shape, 3), np.uint8)], [box]).scores.max() == 0


@pytest.mark.parametrize("box", [[5, 5, 5, 5], [90, 90, 20, 20], [-500, -500, -400, -400], [np.inf, 0, np.inf, 9]])
def test_a_senseless_box_finds_nobody(whole_body: BlazePoseWholeBody, box: list[float]) -> None:
    assert run(whole_body, [drawn_person(WIDTH, HEIGHT)], [np.array(box)]).scores.max() == 0


def test_a_frame_without_a_box_has_no_scores(whole_body: BlazePoseWholeBody) -> None:
    frame = drawn_person(WIDTH, HEIGHT)
    keypoints = run(whole_body, [frame, frame, frame], [BOX, NOBODY, BOX])
    assert keypoints.scores[1].max() == 0
    assert keypoints.scores[0, BODY].min() > 0.5
    assert keypoints.scores[2, BODY].min() > 0.5


def test_one_who_leaves_and_returns_is_found_again(whole_body: BlazePoseWholeBody) -> None:
    here, gone = drawn_person(WIDTH, HEIGHT), np.full((HEIGHT, WIDTH, 3), 215, np.uint8)
    there = drawn_person(WIDTH, HEIGHT, at=(0.6, 0.5))
    keypoints = run(whole_body, [here, gone, gone, there], [BOX] * 4)
    assert keypoints.scores[1:3].max() == 0
    assert keypoints.scores[3, BODY].min() > 0.5
    assert keypoints.points[3, 0, 0] - keypoints.points[0, 0, 0] == pytest.approx(0.1 * WIDTH, abs=8)


def test_the_box_says_which_of_two_people(whole_body: BlazePoseWholeBody) -> None:
    frame = add_person(drawn_person(640, 480, at=(0.28, 0.5)), (0.72, 0.5), 0.8, 0.3)
    left, right = np.array([60, 20, 320, 460], np.float32), np.array([370, 40, 560, 450], np.float32)
    keypoints = run(whole_body, [frame] * 4, [left, left, right, right])
    nose = keypoints.points[:, 0, 0]
    np.testing.assert_allclose(nose, [0.28 * 640, 0.28 * 640, 0.72 * 640, 0.72 * 640], atol=8)


def test_two_people_who_cross_keep_their_points(whole_body: BlazePoseWholeBody) -> None:
    frames, boxes, noses = [], [], []
    for step in np.linspace(0.0, 1.0, 13):
        main, other = 0.25 + 0.5 * step, 0.75 - 0.5 * step
        frame = add_person(drawn_person(800, 480, at=(other, 0.45), tall=0.6), (main, 0.5), 0.9)
        frames.append(frame)
        boxes.append(np.array([main * 800 - 100, 20, main * 800 + 160, 470], np.float32))
        noses.append(main * 800)
    found = run(whole_body, frames, boxes).points[:, 0, 0]
    np.testing.assert_allclose(found, noses, atol=15)


def test_chunks_give_what_one_array_gives(whole_body: BlazePoseWholeBody) -> None:
    frames = np.stack([drawn_person(WIDTH, HEIGHT, arm=angle) for angle in np.linspace(0.3, 1.2, 5)])
    boxes = np.repeat(BOX[None], 5, axis=0)
    whole = whole_body(frames, boxes)
    chunked = whole_body((frames[i : i + 2] for i in range(0, 5, 2)), boxes)
    assert whole.points.tobytes() == chunked.points.tobytes()
    assert whole.scores.tobytes() == chunked.scores.tobytes()


def test_tracking_agrees_with_detecting_anew(whole_body: BlazePoseWholeBody) -> None:
    frames = [drawn_person(WIDTH, HEIGHT, arm=angle) for angle in np.linspace(0.3, 1.2, 5)]
    tracked = run(whole_body, frames, [BOX] * 5)
    anew = run(BlazePoseWholeBody(track=False), frames, [BOX] * 5)
    distance = np.linalg.norm(tracked.points[:, BODY] - anew.points[:, BODY], axis=-1)
    assert np.median(distance) < 0.015 * HEIGHT


@pytest.mark.parametrize("count", [1, 3])
def test_frames_and_boxes_must_be_as_many(whole_body: BlazePoseWholeBody, count: int) -> None:
    with pytest.raises(ValueError, match="2 boxes"):
        whole_body(np.zeros((count, 8, 8, 3), np.uint8), np.stack([NOBODY] * 2))


def test_no_frames_give_no_points(whole_body: BlazePoseWholeBody) -> None:
    assert whole_body([], np.zeros((0, 4), np.float32)).points.shape == (0, 133, 2)


def test_frames_must_be_rgb_bytes(whole_body: BlazePoseWholeBody) -> None:
    with pytest.raises(ValueError, match="uint8"):
        whole_body(np.zeros((1, 8, 8, 3), np.float32), NOBODY[None])


def facing_pose() -> Pose:
    """A body that faces the camera at 100 pixels a metre, feet pointing at the camera."""
    world = np.random.default_rng(0).normal(0, 0.3, (33, 3)).astype(np.float32)
    for side, (ankle, heel, toe) in ((1, (27, 29, 31)), (-1, (28, 30, 32))):
        world[ankle] = 0.1 * side, 0.80, 0.0
        world[heel] = 0.1 * side, 0.88, 0.05
        world[toe] = 0.1 * side, 0.88, -0.20
    points = world[:, :2] * 100 + 200
    return Pose(points, np.ones(33, np.float32), world, 1.0, Roi(0, 0, 10))


def test_small_toes_are_on_the_outside() -> None:
    pose = facing_pose()
    left, score = small_toe(pose, left=True)
    right, _ = small_toe(pose, left=False)
    np.testing.assert_allclose(left - pose.points[31], [7.5, 0], atol=0.1)
    np.testing.assert_allclose(right - pose.points[32], [-7.5, 0], atol=0.1)
    assert score == 0.5


def test_what_is_outside_the_picture_scores_nothing() -> None:
    pose = facing_pose()
    points, scores = assemble(pose, None, None, None, (200, 400))
    outside = (points[:, 0] > 200)
    assert outside[BODY].any()
    assert scores[outside].max() == 0
    assert scores[BODY][~outside[BODY]].min() == 1


def test_parts_that_were_not_found_score_nothing_and_are_finite() -> None:
    points, scores = assemble(facing_pose(), None, None, None, (400, 400))
    assert np.isfinite(points).all()
    assert scores[FACE].max() == scores[LEFT_HAND].max() == scores[RIGHT_HAND].max() == 0
    assert scores[FEET].min() > 0


def test_the_maps_have_as_many_points_as_coco_and_ibug() -> None:
    assert len(COCO_FROM_POSE) == 17
    assert len(set(COCO_FROM_POSE)) == 17
    assert len(IBUG_FROM_MESH) == 68
    assert len(set(IBUG_FROM_MESH)) == 68
    assert max(IBUG_FROM_MESH) < 468


def test_the_weights_are_shipped() -> None:
    assert len(weights()) == 6
    assert all(path.stat().st_size > 100_000 for path in weights())
    assert (weights()[0].parent / "NOTICE").exists()
    assert (weights()[0].parent / "LICENSE").exists()


def test_a_missing_provider_is_named() -> None:
    with pytest.raises(ValueError, match="NoSuchExecutionProvider"):
        Net("hand_recrop", ["NoSuchExecutionProvider"])


def test_an_unknown_net_is_named() -> None:
    with pytest.raises(ValueError, match="no_such_net"):
        Net("no_such_net")


def test_a_real_face_has_ibug_order_and_real_hands_their_own_side(
    whole_body: BlazePoseWholeBody, shared_media: Path
) -> None:
    frames, _ = read_clip(shared_media / "controlnext_01.mp4", stop=1)
    keypoints = run(whole_body, list(frames), [np.array([0, 0, 576, 1024])])
    face = keypoints.points[0, FACE]
    assert keypoints.scores[0, FACE].min() > 0.5
    assert face[0, 0] < face[8, 0] < face[16, 0]  # jaw: from the person's right over the chin to the left
    assert face[8, 1] == face[:, 1].max()
    assert face[36, 0] < face[39, 0] < face[42, 0] < face[45, 0]  # eyes: outer, inner, inner, outer corner
    assert face[19, 1] < face[37, 1] < face[30, 1] < face[51, 1] < face[62, 1] <= face[66, 1] < face[57, 1]
    for hand, wrist in ((LEFT_HAND, 9), (RIGHT_HAND, 10)):
        assert keypoints.scores[0, hand].min() > 0.5
        assert np.linalg.norm(keypoints.points[0, hand][0] - keypoints.points[0, wrist]) < 60
