from __future__ import annotations

import numpy as np

from pipelines.stages.arcface.belonging import HEAD_UNSEEN, NO_FACE, NOBODY, OTHER_PERSON, whose_face
from pipelines.stages.arcface.faces import Faces

PERSON = np.array([100, 50, 200, 400], np.float32)


def faces(*squares: tuple[float, float, float]) -> Faces:
    """Faces at (centre x, centre y, side)."""
    layout = np.array([[-0.2, -0.15], [0.2, -0.15], [0, 0.05], [-0.15, 0.25], [0.15, 0.25]])
    given = np.array(squares, np.float32).reshape(-1, 3)
    middle, side = given[:, :2], given[:, 2:]
    points = middle[:, None] + layout * side[:, None]
    return Faces(
        np.concatenate([middle - side / 2, middle + side / 2], 1), np.full(len(given), 0.9, np.float32),
        points.astype(np.float32),
    )  # fmt: skip


def keypoints(x: float, y: float, side: float, score: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
    """Key points of a head there; the left eye (1) is on the picture's right."""
    points, scores = np.zeros((133, 2), np.float32), np.zeros(133, np.float32)
    points[:3] = [[x, y + 0.05 * side], [x + 0.2 * side, y - 0.15 * side], [x - 0.2 * side, y - 0.15 * side]]
    scores[:3] = score
    return points, scores


def test_the_largest_face_of_the_picture_is_not_taken_when_it_is_outside_of_the_person_s_box() -> None:
    assert whose_face(faces((400, 100, 90), (150, 80, 40)), PERSON) == 1


def test_without_key_points_the_largest_face_in_the_box_is_taken() -> None:
    assert whose_face(faces((120, 200, 15), (150, 80, 40)), PERSON) == 1


def test_key_points_choose_between_two_faces_in_the_box() -> None:
    assert whose_face(faces((150, 80, 60), (150, 200, 40)), PERSON, *keypoints(151, 198, 40)) == 1


def test_a_face_far_from_the_person_s_head_is_somebody_else_s() -> None:
    assert whose_face(faces((150, 80, 40)), PERSON, *keypoints(150, 160, 40)) == OTHER_PERSON


def test_one_visible_eye_is_enough() -> None:
    points, scores = keypoints(150, 80, 40)
    scores[[0, 2]] = 0
    assert whose_face(faces((180, 300, 40), (150, 80, 40)), PERSON, points, scores) == 1


def test_a_head_that_the_key_points_do_not_show_has_no_face() -> None:
    assert whose_face(faces((150, 80, 40)), PERSON, *keypoints(150, 80, 40, score=0.1)) == HEAD_UNSEEN


def test_no_face_and_nobody_are_told_apart() -> None:
    assert whose_face(faces(), PERSON) == NO_FACE
    assert whose_face(faces((150, 80, 40)), np.full(4, np.nan, np.float32)) == NOBODY
