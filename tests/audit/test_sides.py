"""Left and right are told apart by the body, by time and by the face."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.audit.planted import swap_sides
from pipelines.audit.sides import swapped_share
from pipelines.clip import Keypoints

HEIGHT = 200.0


def standing(frames: int = 20, width: float = 40.0, noise: float = 1.0) -> Keypoints:
    """Somebody who faces the camera and sways; the person's left is on the picture's right."""
    points = np.zeros((frames, 133, 2), np.float32)
    heights = {5: 40, 7: 70, 9: 100, 11: 100, 13: 145, 15: 190, 1: 8, 3: 10}
    for left, y in heights.items():
        spread = width * (0.15 if left in (1, 3) else 1.0)
        points[:, left] = 100 + spread / 2, y
        points[:, left + 1] = 100 - spread / 2, y
    points[:, 23:91] = 100, 12
    points[:, 59:65, 0] -= 0.07 * width
    points[:, 65:71, 0] += 0.07 * width
    points[..., 0] += 10 * np.sin(np.arange(frames) / 5)[:, None]
    points += np.random.default_rng(0).normal(0, noise, points.shape).astype(np.float32)
    boxes = np.tile(np.array([60, 0, 140, HEIGHT], np.float32), (frames, 1))
    return Keypoints(points, np.full((frames, 133), 0.9, np.float32), boxes, "drawn")


def share(keypoints: Keypoints, body: np.ndarray | None = None) -> float:
    return swapped_share(keypoints.points, keypoints.scores, body, HEIGHT)


def test_nothing_is_swapped_in_a_clean_clip():
    clean = standing()
    assert share(clean, clean.points[:, :17].copy()) == 0


def test_a_body_that_fits_better_when_exchanged_is_a_swap_of_every_frame():
    clean = standing()
    faceless = swap_sides(clean, whole=True)
    faceless.scores[:, 23:91] = 0
    assert share(faceless, clean.points[:, :17].copy()) == 1


def test_half_a_clip_swapped_shows_without_a_body():
    swapped = swap_sides(standing(), whole=False)
    swapped.scores[:, 23:91] = 0
    assert share(swapped) == pytest.approx(0.5, abs=0.06)


def test_a_whole_swap_shows_on_the_face_alone():
    assert share(swap_sides(standing(), whole=True)) == 1


def test_legs_alone_can_be_swapped():
    clean, swapped = standing(), standing()
    swapped.points[:, [11, 12, 13, 14, 15, 16]] = clean.points[:, [12, 11, 14, 13, 16, 15]]
    swapped.scores[:, 23:91] = 0
    assert share(swapped, clean.points[:, :17].copy()) == 1


def test_a_person_in_profile_is_not_accused():
    profile = standing(width=2.0, noise=2.0)
    assert share(profile, profile.points[:, :17] + 1) == 0


def test_unseen_points_are_no_witnesses():
    unseen = swap_sides(standing(), whole=True)
    unseen.scores[:] = 0
    assert share(unseen, standing().points[:, :17].copy()) == 0


def test_a_turn_on_the_spot_is_no_swap():
    turning = standing(frames=48)
    middle = 100 + 10 * np.sin(np.arange(48) / 5)[:, None]
    angle = np.linspace(0, 2 * np.pi, 48)[:, None]
    turning.points[..., 0] = middle + (turning.points[..., 0] - middle) * np.cos(angle)
    turning.scores[np.abs(angle[:, 0] - np.pi) < np.pi / 2, 23:91] = 0
    assert share(turning, turning.points[:, :17].copy()) == 0
