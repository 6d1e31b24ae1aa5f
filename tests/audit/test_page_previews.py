"""Previews: nobody can be told by them, and some clips get none."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipelines.audit.previews import make_preview
from pipelines.audit.previews_faces import blur_people
from pipelines.clip import BodySequence, Camera, Keypoints
from pipelines.shard_format import Face, Sample
from pipelines.video.encode import encode_clip, encode_maps
from pipelines.video.reader import ClipReader

WIDTH, HEIGHT, FRAMES = 120, 200, 30
HEAD, BOX = (60.0, 40.0), (30.0, 15.0, 90.0, 190.0)


def detail(picture: NDArray[np.uint8]) -> float:
    """How much neighbouring pixels differ: what a face is told by."""
    return float(np.abs(np.diff(picture.astype(np.float32), axis=1)).mean())


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)


def keypoints(seen: float = 1.0, box: tuple[float, ...] = BOX) -> Keypoints:
    """A person whose face is around HEAD and whose other points are below."""
    rng = np.random.default_rng(2)
    points = np.tile(np.float32((60, 120)), (FRAMES, 133, 1))
    points[:, [0, 1, 2, 3, 4, *range(23, 91)]] = np.float32(HEAD) + rng.uniform(-8, 8, (73, 2)).astype(np.float32)
    points[:, 5], points[:, 6] = (80, 70), (40, 70)
    scores = np.full((FRAMES, 133), seen, np.float32)
    return Keypoints(points, scores, np.tile(np.float32(box), (FRAMES, 1)), "made")


def test_the_head_loses_its_detail_and_the_body_keeps_it(picture: NDArray[np.uint8]):
    blurred = blur_people(picture, keypoints(), 10)
    head = (slice(30, 50), slice(52, 68))
    assert detail(blurred[head]) < 0.1 * detail(picture[head])
    assert np.array_equal(blurred[110:180, 40:80], picture[110:180, 40:80])


def test_people_beside_the_main_person_are_blurred_as_well(picture: NDArray[np.uint8]):
    blurred = blur_people(picture, keypoints(), 10)
    assert detail(blurred[:, :15]) < 0.35 * detail(picture[:, :15])


def test_a_face_that_is_hardly_seen_is_blurred_all_the_same(picture: NDArray[np.uint8]):
    head = (slice(30, 50), slice(52, 68))
    assert detail(blur_people(picture, keypoints(seen=0.01), 10)[head]) < 0.1 * detail(picture[head])


def test_without_points_of_the_head_the_upper_half_is_blurred(picture: NDArray[np.uint8]):
    blurred = blur_people(picture, keypoints(seen=0.0), 10)
    assert detail(blurred[20:100, 32:88]) < 0.1 * detail(picture[20:100, 32:88])


def test_without_a_box_all_is_blurred(picture: NDArray[np.uint8]):
    blurred = blur_people(picture, keypoints(box=(np.nan,) * 4), 10)
    assert detail(blurred) < 0.3 * detail(picture)


@pytest.mark.parametrize("shift", [-500.0, 500.0])
def test_points_outside_the_picture_do_no_harm(picture: NDArray[np.uint8], shift: float):
    moved = keypoints()
    moved.points[:] += shift
    assert blur_people(picture, moved, 0).shape == picture.shape


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    folder = tmp_path_factory.mktemp("preview")
    rng = np.random.default_rng(3)
    frames = [rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(FRAMES)]
    encode_clip(folder / "v.mp4", frames, Fraction(25))
    encode_maps(folder / "r.mp4", frames, [frame[..., 0] for frame in frames], Fraction(25))
    zeros = {"expression": (10,), "global_orient": (3,), "body_pose": (21, 3), "left_hand_pose": (15, 3),
             "right_hand_pose": (15, 3), "jaw_pose": (3,), "transl": (3,)}  # fmt: skip
    body = BodySequence(
        betas=np.zeros(10, np.float32),
        **{name: np.zeros((FRAMES, *shape), np.float32) for name, shape in zeros.items()},
        camera=Camera(100.0, (60.0, 100.0), (WIDTH, HEIGHT)),
        flat_hand_mean=True,
        body_hash="0" * 64,
        valid=np.ones(FRAMES, bool),
    )
    meta = {"fps": [25, 1], "size": [WIDTH, HEIGHT], "frames": FRAMES}
    videos = ((folder / "v.mp4").read_bytes(), (folder / "r.mp4").read_bytes())
    return Sample("0" * 16 + "_000000", meta, keypoints(), body, Face.absent(FRAMES), *videos)


def test_a_preview_is_a_small_sheet_and_a_short_film(sample: Sample, tmp_path: Path):
    make_preview(tmp_path, sample)
    sheet = Image.open(tmp_path / f"{sample.key}.webp")
    assert sheet.width == 3 * (sheet.width // 3)
    with ClipReader(tmp_path / f"{sample.key}.mp4") as film:
        assert len(film) == 15
        assert film.fps == Fraction(25, 2)


def test_the_film_shows_no_face_in_any_frame(sample: Sample, tmp_path: Path):
    make_preview(tmp_path, sample)
    with ClipReader(tmp_path / f"{sample.key}.mp4") as film:
        for frame in film.frames(range(len(film))):
            assert detail(frame[30:50, 52:68]) < 0.2 * detail(frame[110:180, 40:80])


def test_faces_can_be_shown_where_one_asks_for_it(sample: Sample, tmp_path: Path):
    make_preview(tmp_path, sample, show_faces=True)
    with ClipReader(tmp_path / f"{sample.key}.mp4") as film:
        assert detail(film.frames([3])[0][30:50, 52:68]) > 0.5 * detail(film.frames([3])[0][110:180, 40:80])
