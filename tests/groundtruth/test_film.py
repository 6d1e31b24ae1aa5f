from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.body.model import Body, load_body
from pipelines.demo.rooms import Room
from pipelines.groundtruth.clips import Clip, draw_clip, perform
from pipelines.groundtruth.openings import opening_frames
from pipelines.groundtruth.people import Person, draw_person
from pipelines.groundtruth.picture import Filmed, Region, film, regions_of, samples_per_pixel

SIZE = 128


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body(None)


def drawn(number: int, **changes: object) -> tuple[Person, Clip]:
    person = draw_person(5, "train", number)
    clip = draw_clip(5, person, 0)
    opening = replace(clip.performance, opening=str(changes.pop("opening", "plain")))
    return person, replace(clip, performance=opening, **changes)  # type: ignore[arg-type]


def filmed(body: Body, person: Person, clip: Clip, frames: int = 2, size: int = SIZE) -> list[Filmed]:
    return list(film(body, person, clip, perform(body, person, clip, clip.performance, frames, size, Fraction(12))))


def changed(one: Filmed, other: Filmed) -> NDArray[np.bool_]:
    return np.abs(one.picture.astype(int) - other.picture).max(axis=2) > 12


def inner(mask: NDArray[np.bool_], pixels: int = 2) -> NDArray[np.bool_]:
    """Without what edges are smoothed into."""
    return cv2.erode(mask.astype(np.uint8), np.ones((2 * pixels + 1,) * 2, np.uint8)) > 0


def test_the_background_is_where_another_room_changes_the_picture(body: Body) -> None:
    person, clip = drawn(0, room=Room((200, 200, 200), (150, 150, 150), (90, 90, 90), things="none"))
    other = replace(clip, room=Room((30, 60, 30), (20, 20, 60), (10, 10, 10), things="none"))
    one, two = filmed(body, person, clip)[0], filmed(body, person, other)[0]
    background = one.regions == Region.BACKGROUND
    assert changed(one, two)[inner(background)].mean() > 0.99
    assert not changed(one, two)[inner(one.silhouette)].any()


def test_the_face_is_where_a_painted_face_changes_the_picture(body: Body) -> None:
    person, clip = drawn(1, framing="waist")
    painted = replace(person.features, paint=1.0, paint_colour=(255, 0, 255), lips=(0, 0, 255))
    plain = replace(person.features, paint=0.0, paint_colour=(0, 0, 0))
    one, two = (filmed(body, replace(person, features=f), clip)[0] for f in (plain, painted))
    near_face = cv2.dilate((one.regions == Region.FACE).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    where = changed(one, two)
    assert where.any()
    assert near_face[where].all()


def test_the_torso_edge_lies_between_trunk_and_background() -> None:
    chest, arm = 3, 11
    labels = np.zeros((64, 64), np.uint8)
    labels[10:50, 20:40] = chest
    labels[10:50, 40:50] = arm
    regions = regions_of(labels, np.zeros((64, 64, 3), np.float32), False)
    assert (regions[20, [19, 20]] == Region.TORSO_EDGE).all()
    assert (regions[20, [17, 22]] == [Region.BACKGROUND, Region.BODY]).all()
    assert (regions[20, 36:44] == Region.BODY).all(), "an arm before it is no edge"


def test_every_region_is_in_a_frontal_half_body(body: Body) -> None:
    person, clip = drawn(2, framing="knees")
    shown = filmed(body, person, replace(clip, performance=replace(clip.performance, motion="cross")))[0]
    assert set(np.unique(shown.regions)) == {int(region) for region in Region}


def face_pixels(body: Body, opening: str) -> tuple[float, float]:
    """Of some people: at the first frame, and at the last."""
    first = last = 0.0
    for number in range(4):
        person, clip = drawn(number, opening=opening)
        clip = replace(clip, performance=replace(clip.performance, motion="cross"))
        shown = filmed(body, person, clip, frames=12, size=64)
        first += float((shown[0].regions == Region.FACE).sum())
        last += float((shown[-1].regions == Region.FACE).sum())
    return first, last


@pytest.mark.parametrize("opening", ["turned", "covered", "far"])
def test_a_clip_may_begin_with_a_face_that_says_little(body: Body, opening: str) -> None:
    first, last = face_pixels(body, opening)
    assert first < 0.65 * last


def test_an_opening_ends_where_it_is_said_to() -> None:
    from pipelines.groundtruth.motions import Style, perform_motion
    from pipelines.groundtruth.openings import opened

    motion = perform_motion("cross", Style(1.0, 0.0, False, 0.0), np.arange(20) / 12)
    ends = opening_frames(20)
    for opening in ("turned", "covered", "far"):
        other = opened(motion, opening, "left", 2.0)
        same = [np.allclose(getattr(motion, name)[ends:], getattr(other, name)[ends:])
                for name in ("body_pose", "yaw", "place", "curl")]  # fmt: skip
        assert all(same)



@pytest.mark.parametrize("size", [64, 72, 256, 264, 512])
def test_pictures_of_every_size_are_made_of_whole_samples(size: int) -> None:
    assert samples_per_pixel(size) * size >= 256
    assert samples_per_pixel(size) in (1, 2, 3, 4)
