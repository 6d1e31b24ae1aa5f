from __future__ import annotations

import json
from dataclasses import asdict
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from pipelines.body.model import Body, load_body
from pipelines.engine.setup_error import SetupError
from pipelines.groundtruth.clips import perform, stage_of
from pipelines.groundtruth.cross import Pair, choose_pairs, crossed
from pipelines.groundtruth.make import planned_takes
from pipelines.groundtruth.settings import GroundTruthSettings

FRAMES, SIZE, FPS = 10, 128, Fraction(12)
SETTINGS = GroundTruthSettings(seed=2, train_people=0, test_people=4, clips_per_person=3, frames=FRAMES)


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body(None)


@pytest.fixture(scope="module")
def truth() -> dict[str, Any]:
    """As much of `clips.json` as pairs are chosen from."""
    takes = planned_takes(SETTINGS)
    people = {take.person.name: {"person": take.person.name, **asdict(take.person)} for take in takes}
    clips = [{"person": take.person.name, "drawn": asdict(take.clip)} for take in takes]
    return json.loads(json.dumps({"settings": {"frames": FRAMES}, "people": list(people.values()), "clips": clips}))


def test_pairs_are_of_two_people_and_none_comes_twice(truth: dict[str, Any]) -> None:
    pairs = choose_pairs(truth, "test", 20)
    assert len({pair.name for pair in pairs}) == 20
    assert all(pair.reference.person != pair.driving.person for pair in pairs)


def test_everybody_is_the_reference_in_turn(truth: dict[str, Any]) -> None:
    people = [pair.reference.person.name for pair in choose_pairs(truth, "test", 8)]
    assert sorted(people) == sorted(2 * [f"test-p{number:04d}" for number in range(4)])


def test_more_pairs_than_there_are_is_an_error(truth: dict[str, Any]) -> None:
    with pytest.raises(SetupError, match=r"--pairs: the train split has 0 pairs"):
        choose_pairs(truth, "train", 1)


@pytest.fixture(scope="module", params=[0, 1, 5])
def pair(request: pytest.FixtureRequest, truth: dict[str, Any]) -> Pair:
    return choose_pairs(truth, "test", 8)[request.param]


def test_the_body_is_the_references(body: Body, pair: Pair) -> None:
    made = crossed(body, pair, FRAMES, SIZE, FPS)
    np.testing.assert_array_equal(made.betas, np.float32(pair.reference.person.betas))
    rest = body.rest_joints(made.betas)
    joints, parents = body.joints(made)[:, :22], body.parents[1:22]
    bones = np.linalg.norm(joints[:, 1:] - joints[:, parents], axis=-1)
    expected = np.linalg.norm(rest[1:22] - rest[parents], axis=-1)
    np.testing.assert_allclose(bones, np.broadcast_to(expected, bones.shape), atol=1e-3)


def test_the_joint_angles_are_the_drivers(body: Body, pair: Pair) -> None:
    made = crossed(body, pair, FRAMES, SIZE, FPS)
    driving = pair.driving
    own = perform(body, driving.person, driving.clip, driving.clip.performance, FRAMES, SIZE, FPS)
    for name in ("global_orient", "body_pose", "left_hand_pose", "right_hand_pose", "jaw_pose"):
        np.testing.assert_array_equal(getattr(made, name), getattr(own, name))


def test_it_begins_where_the_reference_stands(body: Body, pair: Pair) -> None:
    made = crossed(body, pair, FRAMES, SIZE, FPS)
    reference = pair.reference
    own = perform(body, reference.person, reference.clip, reference.clip.performance, FRAMES, SIZE, FPS)
    assert made.camera == own.camera
    np.testing.assert_allclose(made.transl[0, [0, 2]], own.transl[pair.reference_frame, [0, 2]], atol=1e-5)


def test_the_lowest_point_is_on_the_references_floor(body: Body, pair: Pair) -> None:
    made = crossed(body, pair, FRAMES, SIZE, FPS)
    lowest = body.vertices(made)[..., 1].max(axis=1)
    floor = stage_of(body, pair.reference.person, pair.reference.clip, SIZE).height
    np.testing.assert_allclose(lowest, floor, atol=1e-3)
