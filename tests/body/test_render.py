from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipelines.body.model import Body, load_body
from pipelines.body.parts import PART_NAMES
from pipelines.body.render import CHUNK, map_camera, overlay, render_sequence
from pipelines.clip import BodySequence, Camera

CAMERA = Camera(300.0, (64.0, 96.0), (128, 192))


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body(None)


def standing(body: Body, frames: int = 2) -> BodySequence:
    """In the T-pose, upright, facing the camera."""
    zeros = np.zeros
    facing = np.tile(np.array([np.pi, 0, 0], np.float32), (frames, 1))
    return BodySequence(
        zeros(10, np.float32), zeros((frames, 10), np.float32), facing, zeros((frames, 21, 3), np.float32),
        zeros((frames, 15, 3), np.float32), zeros((frames, 15, 3), np.float32), zeros((frames, 3), np.float32),
        np.tile(np.array([0, 0, 4], np.float32), (frames, 1)), CAMERA, True, body.hash, np.ones(frames, bool),
    )  # fmt: skip


def centre(labels: np.ndarray, part: str) -> np.ndarray:
    rows, columns = np.nonzero(labels == PART_NAMES.index(part))
    return np.array([columns.mean(), rows.mean()])


def test_a_body_that_faces_the_camera_has_its_left_on_the_right_of_the_picture(body: Body) -> None:
    (_, labels), *_ = render_sequence(body, standing(body))
    assert centre(labels, "left forearm")[0] > 70 > 58 > centre(labels, "right forearm")[0]
    assert centre(labels, "head")[1] < centre(labels, "chest")[1] < centre(labels, "left shin")[1]


def test_shaded_and_labels_cover_the_same_pixels(body: Body) -> None:
    for shaded, labels in render_sequence(body, standing(body)):
        assert ((labels > 0) == shaded.any(axis=-1)).all()
        assert labels.max() < len(PART_NAMES)


def test_frames_that_are_not_valid_are_black(body: Body) -> None:
    sequence = standing(body)
    transl = sequence.transl.copy()
    transl[1] = np.nan
    hidden = replace(sequence, valid=np.array([True, False]), transl=transl)
    (first, _), (shaded, labels) = render_sequence(body, hidden)
    assert first.any()
    assert not shaded.any()
    assert not labels.any()


def test_every_frame_of_a_clip_longer_than_a_chunk_is_drawn_in_order(body: Body) -> None:
    frames = CHUNK + 3
    sequence = standing(body, frames)
    sequence.transl[:, 0] = np.linspace(-0.2, 0.2, frames)
    places = [np.nonzero(labels)[1].mean() for _, labels in render_sequence(body, sequence)]
    assert len(places) == frames
    assert (np.diff(places) > 0).all()


def test_maps_can_have_another_size(body: Body) -> None:
    (shaded, labels), *_ = render_sequence(body, standing(body), (256, 384))
    assert (shaded.shape, labels.shape) == ((384, 256, 3), (384, 256))
    (_, own), *_ = render_sequence(body, standing(body))
    assert np.count_nonzero(labels) == pytest.approx(4 * np.count_nonzero(own), rel=0.05)


def test_another_aspect_is_refused() -> None:
    with pytest.raises(ValueError, match="200x200 do not show a picture of 128x192"):
        map_camera(CAMERA, (200, 200))


def test_a_pose_that_is_not_finite_is_named_by_frame(body: Body) -> None:
    sequence = standing(body)
    sequence.transl[1, 2] = np.inf
    with pytest.raises(ValueError, match="frame 1"):
        list(render_sequence(body, sequence))


def test_an_overlay_changes_the_body_s_pixels_only(body: Body) -> None:
    (shaded, labels), *_ = render_sequence(body, standing(body))
    frame = np.full_like(shaded, 10)
    drawn = overlay(frame, shaded, labels, 0.5)
    assert (drawn[labels == 0] == 10).all()
    np.testing.assert_allclose(drawn[labels > 0], (10 + shaded[labels > 0].astype(float)) / 2, atol=0.51)


def test_an_overlay_of_different_sizes_is_refused() -> None:
    with pytest.raises(ValueError, match="one size"):
        overlay(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), np.uint8))
