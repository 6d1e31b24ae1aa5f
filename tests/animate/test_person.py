"""Whom to take of several people."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.animate.person import PersonFinder
from pipelines.stages.people import PeopleConfig
from pipelines.stages.people_tracks import Sighting

FRAMES = np.zeros((8, 100, 300, 3), np.uint8)
# Three people side by side; the one in the middle is the largest and comes last.
BOXES = {"left": (20, 40, 50, 90), "middle": (110, 10, 170, 95), "right": (240, 40, 270, 90)}


class Look:
    """Sees the left and the right person in every frame, the middle one from the fifth on."""

    batch = 1

    def __init__(self) -> None:
        self.number = -1

    def __call__(self, frames):
        seen = []
        for _ in frames:
            self.number += 1
            names = ["right", "left"] if self.number < 4 else ["middle", "right", "left"]
            seen.append([Sighting(np.array(BOXES[name], np.float32), 0.9) for name in names])
        return seen


def find(person: int | None):
    return PersonFinder(PeopleConfig(samples_per_second=10), person, Look())(FRAMES, 10.0)


@pytest.mark.parametrize(("person", "name"), [(1, "left"), (2, "middle"), (3, "right"), (None, "middle")])
def test_people_are_counted_from_the_left_where_most_are_seen(person: int | None, name: str):
    found = find(person)
    assert found.reason is None
    assert found.boxes[-1].tolist() == list(BOXES[name])
    assert found.scores["people"] == 3


def test_a_number_that_nobody_has_is_told():
    assert find(4).reason == "no_such_person"


def test_an_empty_picture_has_nobody():
    class Nobody(Look):
        def __call__(self, frames):
            return [[] for _ in frames]

    assert PersonFinder(PeopleConfig(), None, Nobody())(FRAMES, 10.0).reason == "nobody"
