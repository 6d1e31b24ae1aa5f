from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.body.model import Body, load_body
from pipelines.groundtruth.clips import Clothes, draw_clip, look_of
from pipelines.groundtruth.faces import paint_identity
from pipelines.groundtruth.motions import FAMILIES, Style, perform_motion
from pipelines.groundtruth.people import draw_person, features_from_code, identity_code

CLOTHES = Clothes((9, 9, 9), (9, 9, 9), "plain", 0.3, (9, 9, 9), (9, 9, 9))


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body(None)


def test_no_motion_is_in_both_splits() -> None:
    assert not set(FAMILIES["train"]) & set(FAMILIES["test"])


def test_the_splits_have_different_people() -> None:
    train = {draw_person(0, "train", number).features for number in range(30)}
    assert not train & {draw_person(0, "test", number).features for number in range(30)}


def test_another_seed_draws_other_people_and_clips() -> None:
    one, other = (draw_person(seed, "train", 3) for seed in (0, 1))
    assert one.betas != other.betas
    assert draw_clip(0, one, 0).performance != draw_clip(1, one, 0).performance


def test_nobody_repeats_a_motion_before_having_done_all() -> None:
    person = draw_person(0, "test", 0)
    motions = [draw_clip(0, person, number).performance.motion for number in range(len(FAMILIES["test"]))]
    assert sorted(motions) == sorted(FAMILIES["test"])


def test_some_people_have_unusual_proportions_and_most_do_not() -> None:
    people = [draw_person(0, "train", number) for number in range(200)]
    usual = [np.abs(person.betas).max() for person in people if not person.unusual]
    assert max(usual) <= 2.0
    assert 0.3 < np.mean([person.unusual for person in people]) < 0.5


def test_codes_of_different_people_differ() -> None:
    codes = np.stack([identity_code(draw_person(0, "train", number).features) for number in range(100)])
    np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 1, atol=1e-6)
    cosines = codes @ codes.T
    assert cosines[~np.eye(100, dtype=bool)].max() < 0.995


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 9999))
def test_a_code_says_what_the_face_is_painted_from(seed: int, number: int) -> None:
    features = draw_person(seed, "test", number).features
    np.testing.assert_allclose(features_from_code(identity_code(features)), features.vector(), atol=1e-5)


def test_faces_of_two_people_look_different(body: Body) -> None:
    one, other = (draw_person(0, "train", number).features for number in (0, 1))
    pictures = [paint_identity(body, look_of(features, CLOTHES), features) for features in (one, other)]
    assert np.abs(pictures[0].astype(int) - pictures[1]).mean() > 20


@pytest.mark.parametrize("name", [name for family in FAMILIES.values() for name in family])
def test_a_motion_is_smooth_and_moves(name: str) -> None:
    motion = perform_motion(name, Style(1.0, 0.0, False, 0.0), np.arange(48) / 24)
    steps = np.abs(np.diff(motion.body_pose, axis=0)).max(axis=(1, 2))
    assert 0.01 < steps.max() < 0.6
    assert np.abs(motion.place[:, 0]).max() <= 0.2201


def test_a_mirrored_motion_does_with_the_left_what_the_other_does_with_the_right() -> None:
    times = np.arange(12) / 12
    plain, mirrored = (perform_motion("wave", Style(1.0, 0.0, flag, 0.0), times) for flag in (False, True))
    flip = np.array([1, -1, -1])
    np.testing.assert_allclose(mirrored.body_pose[:, 15], plain.body_pose[:, 16] * flip)
    np.testing.assert_allclose(mirrored.curl[:, 0], plain.curl[:, 1])
