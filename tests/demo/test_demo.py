from __future__ import annotations

import csv
import itertools
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipelines.body.camera import assumed_camera
from pipelines.body.model import Body, load_body
from pipelines.body.parts import PART_NAMES
from pipelines.demo import FILMS, make_demo_videos, videos
from pipelines.demo.film import act, film_frames
from pipelines.demo.looks import albedo, is_hair, paint_face
from pipelines.demo.motions import JOINTS, MOTIONS

SMALL = (96, 144)


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body(None)


def small_films() -> tuple[videos.Film, ...]:
    return tuple(
        replace(film, size=SMALL, fps=Fraction(5), shots=tuple(replace(shot, seconds=0.6) for shot in film.shots))
        for film in FILMS
    )


def test_the_films_vary_in_size_rate_people_rooms_and_motions() -> None:
    shots = [shot for film in FILMS for shot in film.shots]
    assert {film.size for film in FILMS} == {(512, 768), (768, 512)}
    assert {int(film.fps) for film in FILMS} == {24, 25, 30}
    assert len({shot.actor for shot in shots if shot.actor}) == 4
    assert {shot.motion for shot in shots if shot.motion} == set(MOTIONS)
    assert all(3 <= sum(shot.seconds for shot in film.shots) <= 6 for film in FILMS)


def test_one_film_has_a_cut_and_one_has_nobody() -> None:
    assert [film.name for film in FILMS if len(film.shots) > 1] == ["cut"]
    assert [film.name for film in FILMS if all(shot.actor is None for shot in film.shots)] == ["nobody"]


@pytest.mark.parametrize("name", MOTIONS)
def test_motions_are_smooth_and_within_what_joints_allow(name: str) -> None:
    t = np.arange(150) / 30
    motion = MOTIONS[name](t)
    assert motion.body_pose.shape == (150, len(JOINTS), 3)
    assert np.linalg.norm(motion.body_pose, axis=-1).max() < 2.4
    steps = np.linalg.norm(np.diff(motion.body_pose, axis=0), axis=-1)
    assert steps.max() < 0.35
    knees = motion.body_pose[:, [JOINTS.index("left_knee"), JOINTS.index("right_knee")], 0]
    assert knees.min() >= 0
    elbows = motion.body_pose[:, [JOINTS.index("left_elbow"), JOINTS.index("right_elbow")], 1] * [-1, 1]
    assert elbows.min() >= 0


def test_an_actor_stands_on_the_floor_and_upright(body: Body) -> None:
    shot = FILMS[0].shots[0]
    assert shot.actor is not None
    t = np.arange(6) / 5
    sequence = act(body, shot.actor, MOTIONS["wave"](t), t, assumed_camera(SMALL), 0.9, 3.0)
    vertices = body.vertices(sequence)
    np.testing.assert_allclose(vertices[..., 1].max(axis=1), 0.9, atol=1e-4)
    head = body.vertex_parts == PART_NAMES.index("head")
    assert (vertices[:, head, 1].mean(axis=1) < vertices[..., 1].mean(axis=1) - 0.4).all()


def test_yaw_turns_towards_the_person_s_left_which_is_right_in_the_picture(body: Body) -> None:
    shot = FILMS[0].shots[0]
    assert shot.actor is not None
    t = np.zeros(1)
    motion = replace(MOTIONS["wave"](t), yaw=np.array([0.8]))
    vertices = body.vertices(act(body, shot.actor, motion, t, assumed_camera(SMALL), 0.9, 3.0))[0]
    eyes = vertices[np.isin(body.vertex_parts, [PART_NAMES.index("left eye"), PART_NAMES.index("right eye")])]
    head = vertices[body.vertex_parts == PART_NAMES.index("head")]
    assert eyes[:, 0].mean() > head[:, 0].mean() + 0.005
    assert eyes[:, 2].mean() < head[:, 2].mean()


def test_a_head_has_hair_on_top_and_none_on_chin_or_nose() -> None:
    top, nose, chin, back = [0, 0.4, 0.05], [0, 0.26, 0.17], [0, 0.19, 0.15], [0, 0.3, -0.03]
    assert is_hair(np.array([top, nose, chin, back], np.float32), False).tolist() == [1, 0, 0, 1]


def test_eyes_have_a_pupil_and_lips_are_painted(body: Body) -> None:
    shot = FILMS[0].shots[0]
    assert shot.actor is not None
    look = shot.actor.look
    face = paint_face(body, look)
    places = np.array([[0.03, 0.2905, 0.147], [0.03, 0.303, 0.12], [0, 0.217, 0.165], [0.0, 0.33, 0.15]], np.float32)
    parts = [PART_NAMES.index(name) for name in ("left eye", "left eye", "head", "head")]
    pupil, white, lips, forehead = albedo(places, np.array(parts, np.uint8), look, face)
    assert pupil.max() < 20
    assert white.min() > 200
    assert lips[0] - lips[1] > forehead[0] - forehead[1] + 20


def test_frames_are_the_same_every_time_and_differ_from_each_other(body: Body) -> None:
    film = small_films()[0]
    first, again = list(film_frames(body, film, 3)), list(film_frames(body, film, 3))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert all((a != b).any() for a, b in itertools.pairwise(first))
    assert first[0].shape == (144, 96, 3)


def test_another_seed_casts_other_people_in_the_same_film() -> None:
    film = FILMS[0]
    assert videos.recast(film, 0) == film
    other = videos.recast(film, 7)
    assert other == videos.recast(film, 7)
    assert other.shots[0].actor != film.shots[0].actor
    assert replace(other.shots[0], actor=None) == replace(film.shots[0], actor=None)


def test_a_person_stands_out_from_the_room(body: Body) -> None:
    film = small_films()[0]
    empty = replace(film, shots=tuple(replace(shot, actor=None, motion=None) for shot in film.shots))
    person, room = next(film_frames(body, film, 0)), next(film_frames(body, empty, 0))
    changed = np.abs(person.astype(int) - room).max(axis=-1) > 25
    assert 0.1 < changed.mean() < 0.6


def test_videos_come_with_their_provenance(tmp_path: Path, body: Body) -> None:
    paths = make_demo_videos(tmp_path / "demo", body=body, films=small_films())
    rows = list(csv.DictReader((tmp_path / "demo" / "sources.csv").open()))
    assert [row["file"] for row in rows] == [path.name for path in paths]
    assert {row["licence"] for row in rows} == {"CC0-1.0"}
    assert {row["uploader"] for row in rows} == {"VividPose demo"}
    for path, film in zip(paths, small_films()):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert (stream.width, stream.height, stream.average_rate) == (*SMALL, 5)
            assert sum(1 for _ in container.decode(video=0)) == 3 * len(film.shots)


def test_videos_that_are_there_are_kept_and_the_same_bytes_come_again(tmp_path: Path, body: Body) -> None:
    films = small_films()[:1]
    (path,) = make_demo_videos(tmp_path, body=body, films=films)
    written, when = path.read_bytes(), path.stat().st_mtime_ns
    make_demo_videos(tmp_path, body=body, films=films)
    assert path.stat().st_mtime_ns == when
    path.unlink()
    make_demo_videos(tmp_path, body=body, films=films)
    assert path.read_bytes() == written
    make_demo_videos(tmp_path, seed=1, body=body, films=films)
    assert path.read_bytes() != written


@pytest.mark.slow
@pytest.mark.parametrize("film", [film for film in FILMS if film.name != "nobody"], ids=lambda film: film.name)
def test_the_pose_nets_recognise_a_person_with_a_face(film: videos.Film, body: Body) -> None:
    from pipelines.stages.keypoints_blazepose import BlazePoseWholeBody
    from pipelines.stages.people import PeopleFilter

    first = replace(film, shots=film.shots[:1])
    frames = np.stack(list(film_frames(body, first, 0)))[::4]
    people = PeopleFilter()(frames, float(film.fps) / 4)
    assert people.reason is None
    keypoints = BlazePoseWholeBody()(frames, people.boxes)
    assert ((keypoints.scores[:, :17] > 0.3).sum(axis=1) >= 14).mean() >= 0.9
    assert (keypoints.scores[:, 23:91] > 0.3).all(axis=1).mean() >= 0.9


def test_a_head_seen_from_behind_alone_has_a_colour(body: Body) -> None:
    look = next(shot.actor.look for shot in FILMS[0].shots if shot.actor)
    behind = np.array([[0.0, 0.3, -0.08], [0.01, 0.32, -0.07]], np.float32)
    parts = np.full(2, PART_NAMES.index("head"), np.uint8)
    assert np.isfinite(albedo(behind, parts, look, paint_face(body, look))).all()
