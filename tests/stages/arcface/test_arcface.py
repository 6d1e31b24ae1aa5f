from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from pipelines.clip import Frames, Keypoints
from pipelines.shard_format import decode_face, encode_face
from pipelines.stages.arcface import ArcFace, NoFaceThere, normalised, track_face
from tests.stages.arcface.conformance import picture

FRAMES = np.stack([picture(seed=seed) for seed in range(3)])
WHOLE = np.tile(np.array([0, 0, 480, 360], np.float32), (3, 1))


@pytest.fixture(scope="module")
def tracked(arcface: ArcFace):
    return arcface(FRAMES, WHOLE)


def test_a_clip_s_faces_fit_the_sample_format(arcface: ArcFace, tracked) -> None:
    face, _ = tracked
    again = decode_face(encode_face(face))
    assert again.embeddings.shape == (3, 512)
    assert again.valid.all()
    np.testing.assert_array_equal(again.embeddings, face.embeddings)
    assert (again.model, again.model_hash, again.normalised) == ("w600k_r50", arcface.model_hash, False)


def test_every_frame_tells_the_face_s_box_size_and_yaw(tracked) -> None:
    _, track = tracked
    sides = track.boxes[:, 2:] - track.boxes[:, :2]
    np.testing.assert_allclose(track.size, np.sqrt(sides.prod(axis=1)), rtol=1e-5)
    assert np.isfinite(track.yaw).all()
    assert (track.scores > 0.5).all()
    assert track.reasons == ("", "", "")


def test_samples_hold_raw_embeddings_and_unit_ones_come_from_them(tracked) -> None:
    face, track = tracked
    assert (np.linalg.norm(track.embeddings, axis=1) > 5).all()
    unit = normalised(face)
    assert unit.normalised
    np.testing.assert_allclose(np.linalg.norm(unit.embeddings.astype(np.float32), axis=1), 1, atol=1e-3)
    assert normalised(unit) is unit


def test_embeddings_that_are_absent_stay_zero_when_normalised(tracked) -> None:
    face, _ = tracked
    empty = replace(face, embeddings=np.zeros((3, 512), np.float16))
    assert not normalised(empty).embeddings.any()


def test_chunks_give_what_the_whole_clip_gives(arcface: ArcFace, tracked) -> None:
    face, _ = arcface(iter([FRAMES[:2], FRAMES[2:]]), WHOLE)
    assert encode_face(face) == encode_face(tracked[0])


def test_more_faces_than_a_batch_are_all_embedded(arcface: ArcFace, tracked) -> None:
    many = [0, 1, 2] * 7
    face, _ = arcface(FRAMES[many], WHOLE[many])
    np.testing.assert_allclose(face.embeddings, tracked[0].embeddings[many], rtol=2e-3, atol=1e-3)


def test_a_frame_without_the_person_is_not_valid_and_says_why(arcface: ArcFace) -> None:
    boxes = WHOLE.copy()
    boxes[1] = np.nan
    boxes[2] = [-500, -500, -400, -400]
    face, track = arcface(FRAMES, boxes)
    assert face.valid.tolist() == [True, False, False]
    assert track.reasons == ("", "nobody", "other_person")
    assert not face.embeddings[1:].any()
    assert np.isnan(track.yaw[1:]).all()


def test_a_picture_without_faces_says_so(arcface: ArcFace) -> None:
    face, track = arcface(np.full((1, 200, 100, 3), 127, np.uint8), np.array([[0, 0, 100, 200]], np.float32))
    assert not face.valid.any()
    assert track.reasons == ("no_face",)


def test_key_points_choose_the_face(arcface: ArcFace) -> None:
    faces = arcface.detector.detect(FRAMES[0])
    smallest = int(np.argmin(faces.sizes))
    points, scores = np.zeros((1, 133, 2), np.float32), np.zeros((1, 133), np.float32)
    points[0, :3] = faces.points[smallest][[2, 1, 0]]
    scores[0, :3] = 1
    _, track = arcface(FRAMES[:1], WHOLE[:1], Keypoints(points, scores, WHOLE[:1], "test"))
    np.testing.assert_array_equal(track.boxes[0], faces.boxes[smallest])


def test_a_reference_picture_gives_its_largest_face(arcface: ArcFace) -> None:
    faces = arcface.detector.detect(FRAMES[0])
    identity = arcface.embed_image(FRAMES[0])
    np.testing.assert_array_equal(identity.box, faces.boxes[np.argmax(faces.sizes)])
    assert identity.embedding.shape == (512,)
    assert np.linalg.norm(identity.unit) == pytest.approx(1, abs=1e-5)


def test_a_reference_picture_gives_the_face_in_the_box(arcface: ArcFace, tracked) -> None:
    identity = arcface.embed_image(FRAMES[0], WHOLE[0])
    # float16 rounds, and the batch is another.
    np.testing.assert_allclose(identity.embedding, tracked[0].embeddings[0], atol=0.02)


def test_a_reference_picture_without_a_face_is_an_error_with_a_reason(arcface: ArcFace) -> None:
    with pytest.raises(NoFaceThere, match="no_face") as told:
        arcface.embed_image(np.zeros((100, 100, 3), np.uint8))
    assert told.value.reason == "no_face"


def test_a_frame_of_another_size_is_an_error(arcface: ArcFace) -> None:
    def chunks() -> list[Frames]:
        return [FRAMES[:1], FRAMES[1:2, :300]]

    with pytest.raises(ValueError, match="one size per clip"):
        arcface(chunks(), WHOLE[:2])


@pytest.mark.parametrize("count", [2, 4])
def test_frames_and_boxes_must_be_equally_many(arcface: ArcFace, count: int) -> None:
    boxes = np.array(list(itertools.islice(itertools.cycle(WHOLE), count)))
    with pytest.raises(ValueError, match="boxes"):
        track_face(arcface.detector, arcface.recogniser, FRAMES, boxes)
