"""Which clips are kept, and where the main person is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.stages.people import PeopleConfig, PeopleFilter, reason_to_drop
from pipelines.stages.people_blazepose import tiles
from pipelines.stages.scene_change import ChangeMeter
from tests.stages.clips import clip_chunks, read_clip
from tests.stages.drawn_person import add_person, drawn_person

ALONE = drawn_person(320, 320, tall=0.8)
TWO = add_person(drawn_person(480, 320, at=(0.3, 0.5), tall=0.8), (0.7, 0.5), 0.75, 0.3)
EMPTY = np.full((320, 320, 3), 210, np.uint8)


def still(frame: np.ndarray, count: int = 4) -> np.ndarray:
    return np.repeat(frame[None], count, axis=0)


def test_one_person_is_kept(people_filter: PeopleFilter) -> None:
    people = people_filter(still(ALONE), fps=8)
    assert people.reason is None
    assert people.scores["present"] == people.scores["alone"] == 1
    x0, y0, x1, y1 = people.boxes[2]
    assert x0 < 130 < 190 < x1
    assert y0 < 50
    assert y1 > 280


@pytest.mark.parametrize("shape", [(240, 320), (320, 240), (8, 8), (1, 1), (3, 200)])
def test_black_frames_of_any_size_hold_nobody(people_filter: PeopleFilter, shape: tuple[int, int]) -> None:
    people = people_filter(np.zeros((3, *shape, 3), np.uint8), fps=8)
    assert people.reason == "nobody"
    assert np.isnan(people.boxes).all()
    assert people.boxes.shape == (3, 4)


def test_noise_holds_nobody(people_filter: PeopleFilter) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2, 240, 320, 3)).astype(np.uint8)
    assert people_filter(noise, fps=8).reason == "nobody"


def test_two_people_of_one_size_are_a_crowd(people_filter: PeopleFilter) -> None:
    people = people_filter(still(TWO), fps=8)
    assert people.reason == "crowd"
    assert people.scores["people"] == 2


def test_a_small_bystander_is_no_rival(people_filter: PeopleFilter) -> None:
    frame = add_person(drawn_person(480, 320, at=(0.3, 0.5), tall=0.9), (0.8, 0.6), 0.35, 0.3)
    people = people_filter(still(frame), fps=8)
    assert people.reason is None
    assert people.scores["people"] == 2
    assert 0 < people.scores["rival_area"] < 0.25


def test_a_distant_person_is_too_small(people_filter: PeopleFilter) -> None:
    assert people_filter(still(drawn_person(640, 480, tall=0.2)), fps=8).reason == "too_small"


def test_one_who_walks_out_is_intermittent(people_filter: PeopleFilter) -> None:
    frames = np.stack([drawn_person(320, 320, at=(x, 0.5), tall=0.8) for x in np.linspace(0.5, 2.0, 13)])
    people = people_filter(frames, fps=4)
    assert people.reason == "intermittent"
    assert np.isfinite(people.boxes[:3]).all()
    assert np.isnan(people.boxes[7:]).all()


def test_a_short_absence_is_bridged(people_filter: PeopleFilter) -> None:
    people = people_filter(np.concatenate([still(ALONE, 10), still(EMPTY, 1), still(ALONE, 10)]), fps=4)
    assert people.reason is None
    assert np.isfinite(people.boxes).all()


def test_a_long_absence_is_another_track(people_filter: PeopleFilter) -> None:
    people = people_filter(np.concatenate([still(ALONE, 4), still(EMPTY, 6), still(ALONE, 6)]), fps=4)
    assert people.reason == "intermittent"
    assert np.isnan(people.boxes[:10]).all()
    assert np.isfinite(people.boxes[10:]).all()


def test_two_shots_are_a_cut(people_filter: PeopleFilter) -> None:
    other = 255 - drawn_person(320, 320, at=(0.6, 0.5), tall=0.7)
    people = people_filter(np.concatenate([still(ALONE, 6), still(other, 6)]), fps=8)
    assert people.reason == "cut_inside"


def test_the_box_follows_one_who_walks(people_filter: PeopleFilter) -> None:
    places = np.linspace(0.25, 0.75, 17)
    frames = np.stack([drawn_person(480, 320, at=(x, 0.5), tall=0.8) for x in places])
    people = people_filter(frames, fps=16)
    centres = (people.boxes[:, 0] + people.boxes[:, 2]) / 2
    assert people.reason is None
    np.testing.assert_allclose(centres - centres[8], (places - 0.5) * 480, atol=10)


def test_the_last_frame_is_always_looked_at(people_filter: PeopleFilter) -> None:
    assert np.isfinite(people_filter(still(ALONE, 6), fps=16).boxes).all()


def test_chunks_give_what_one_array_gives(people_filter: PeopleFilter) -> None:
    frames = np.stack([drawn_person(240, 240, at=(x, 0.5), tall=0.8) for x in np.linspace(0.4, 0.6, 7)])
    whole = people_filter(frames, fps=8)
    chunked = people_filter((frames[i : i + 3] for i in range(0, 7, 3)), fps=8)
    assert whole.boxes.tobytes() == chunked.boxes.tobytes()
    assert whole.scores == chunked.scores


GOOD = {"cut": 0.5, "present": 1.0, "alone": 1.0, "height": 0.8, "side": 500.0}


@pytest.mark.parametrize(
    ("score", "value", "reason"),
    [
        ("cut", 2.5, "cut_inside"),
        ("present", 0.0, "nobody"),
        ("height", 0.1, "too_small"),
        ("side", 100.0, "too_small"),
        ("alone", 0.9, "crowd"),
        ("present", 0.9, "intermittent"),
        ("present", 0.95, None),
    ],
)
def test_each_threshold_has_its_reason(score: str, value: float, reason: str | None) -> None:
    assert reason_to_drop(GOOD | {score: value}, PeopleConfig()) == reason


def test_no_frames_is_an_error(people_filter: PeopleFilter) -> None:
    with pytest.raises(ValueError, match="no frames"):
        people_filter([], fps=25)


def test_frames_of_two_sizes_are_an_error(people_filter: PeopleFilter) -> None:
    with pytest.raises(ValueError, match="one size per clip"):
        people_filter([still(EMPTY, 1), still(TWO, 1)], fps=25)


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan")])
def test_fps_must_be_positive(people_filter: PeopleFilter, fps: float) -> None:
    with pytest.raises(ValueError, match="fps"):
        people_filter(still(EMPTY, 1), fps=fps)


def test_samples_per_second_must_be_positive() -> None:
    with pytest.raises(ValueError, match="samples_per_second"):
        PeopleConfig(samples_per_second=0)


def test_tiles_cover_the_frame() -> None:
    for width, height in ((1280, 720), (720, 1280), (1366, 768), (1000, 300)):
        covered = np.zeros((height, width), bool)
        for roi in tiles(width, height):
            x, y, half = round(roi.x), round(roi.y), round(roi.size / 2)
            covered[max(0, y - half) : y + half, max(0, x - half) : x + half] = True
        assert covered.mean() > 0.995


def cut_of(frames: list[np.ndarray]) -> float:
    meter = ChangeMeter()
    for frame in frames:
        meter.add(frame)
    return meter.cut()


def test_a_flash_is_not_a_cut() -> None:
    assert cut_of([EMPTY] * 4 + [EMPTY // 4] + [EMPTY] * 4) < 1


def test_a_hard_cut_is_a_cut() -> None:
    assert cut_of([EMPTY] * 4 + [EMPTY // 4] * 4) > 10


def test_motion_is_not_a_cut() -> None:
    assert cut_of([drawn_person(240, 240, at=(x, 0.5)) for x in np.linspace(0.2, 0.8, 9)]) < 1.3


def test_motion_with_repeated_frames_is_not_a_cut() -> None:
    assert cut_of([drawn_person(240, 240, at=(x, 0.5)) for x in np.linspace(0.2, 0.8, 5) for _ in range(4)]) < 1.3


def test_a_jump_within_a_scene_is_a_cut() -> None:
    places = [*np.linspace(0.2, 0.25, 8), *np.linspace(0.7, 0.75, 8)]
    assert cut_of([drawn_person(240, 240, at=(x, 0.5)) for x in places]) > 2


def test_too_short_a_clip_has_no_cut() -> None:
    assert cut_of([EMPTY, EMPTY // 4]) == cut_of([EMPTY]) == 0


@pytest.mark.parametrize(
    ("name", "reason"),
    [("controlnext_01.mp4", None), ("finetrainers_hiker.mp4", None), ("openpose_video.avi", "crowd")],
)
def test_the_start_of_a_real_video(
    people_filter: PeopleFilter, shared_media: Path, name: str, reason: str | None
) -> None:
    frames, fps = read_clip(shared_media / name, stop=49, step=6)
    assert people_filter(frames, fps).reason == reason


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("musepose_dance.mp4", None),
        ("controlnext_01.mp4", None),
        ("dreampose_demo.mov", None),
        ("finetrainers_hiker.mp4", None),
        ("openpose_video.avi", "crowd"),
        ("facenet_video.mp4", "crowd"),
    ],
)
def test_a_whole_real_video(people_filter: PeopleFilter, shared_media: Path, name: str, reason: str | None) -> None:
    people = people_filter(*clip_chunks(shared_media / name))
    assert people.reason == reason
    if reason is None:
        assert np.isfinite(people.boxes).all()
