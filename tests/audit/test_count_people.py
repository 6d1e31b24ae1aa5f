"""Counting people: those beside a prominent one are seen in few pixels, and nobody is seen who is not there."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import duckdb
import numpy as np
import pytest

from pipelines.audit.measure import LEAST_PERSON, person_side
from pipelines.audit.planted import Recipe, plant
from pipelines.audit.planted_film import film_take, random_take
from pipelines.audit.run import run_audit
from pipelines.audit.schema import CLIPS, audit_folder
from pipelines.body.model import load_body
from pipelines.clip import Frames
from pipelines.stages.people import PeopleConfig
from pipelines.stages.people_blazepose import BlazePoseLook, painted_black

RECIPE = Recipe(clips=3, people=3, frames=8, exact=0, near=0, leaks=0, cuts=0, frozen=0, crowds=0, unknown=0,
                corrupt=0, swapped=0, shard=3, counted=1)  # fmt: skip


@pytest.fixture(scope="module")
def look() -> BlazePoseLook:
    config = PeopleConfig()
    return BlazePoseLook(config.detection, config.presence, config.tile_detection, config.tile_presence, again=True)


def enlarged(frame: Frames) -> Frames:
    return np.asarray(cv2.resize(frame, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), np.uint8)


# Seeds of crowds in which a single look at each of four frames sees one person only.
@pytest.mark.parametrize("seed", [8, 17, 34])
def test_people_beside_a_prominent_one_are_seen(look: BlazePoseLook, seed: int):
    rng = np.random.default_rng([777, seed])
    crowd = random_take(rng, 0).with_others([random_take(rng, 1), random_take(rng, 2)])
    frames, _ = film_take(load_body(None), crowd, 24, Fraction(24))
    assert max(map(len, look([enlarged(frames[at]) for at in (3, 9, 15, 21)]))) >= 2


def test_one_person_alone_is_one(look: BlazePoseLook):
    take = replace(random_take(np.random.default_rng(5), 0), size=(240, 160))
    frames, _ = film_take(load_body(None), take, 1, Fraction(24))
    [people] = look([enlarged(frames[0])])
    assert len(people) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["musepose_dance.mp4", "controlnext_01.mp4", "dreampose_demo.mov", "finetrainers_hiker.mp4"]
)
def test_nobody_is_seen_beside_the_single_people_of_real_videos(look: BlazePoseLook, shared_media: Path, name: str):
    with av.open(str(shared_media / name)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][::12]
    scale = 320 / min(frames[0].shape[:2])
    small = [
        np.asarray(cv2.resize(f, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8) for f in frames
    ]
    rivals = [sorted(sighting.area() for sighting in people)[:-1] for people in look(small)]
    assert sum(map(bool, rivals)) <= len(rivals) // 10


def test_painting_black_leaves_the_frame_as_it_was_and_boxes_may_leave_it():
    frame = np.full((20, 30, 3), 200, np.uint8)
    painted = painted_black(frame, np.array([[-5, -5, 4.2, 3.0], [25, 15, 99, 99]], np.float32))
    assert (frame == 200).all()
    assert painted[0, 4].sum() == painted[19, 29].sum() == 0
    assert (painted[5:15, 6:24] == 200).all()


def test_people_in_too_few_pixels_are_not_counted_and_the_summary_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("pipelines.audit.planted.random_take", lambda *who: replace(random_take(*who), size=(48, 72)))
    out = tmp_path / "out"
    plant(out, RECIPE, seed=2)
    checks = {check["name"]: check for check in run_audit(out)["checks"]}
    assert checks["number_of_people"]["clips"] == 0
    assert "3 of them people are too small" in checks["number_of_people"]["reason"]
    counted = duckdb.execute("select count(alone) from read_parquet(?)", [str(audit_folder(out) / CLIPS)]).fetchone()
    assert counted == (0,)


def test_the_size_of_a_person_is_the_longer_side_over_time():
    boxes = np.array([[0, 0, 10, LEAST_PERSON], [0, 0, LEAST_PERSON, 10], [np.nan] * 4], np.float32)
    assert person_side(boxes) == LEAST_PERSON
    assert person_side(boxes[2:]) == np.inf
