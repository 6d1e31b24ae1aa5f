from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.clip import Keypoints
from pipelines.stages.arcface import track_face, unit_length
from pipelines.stages.arcface.estimator import FaceTrack
from tests.stages.arcface.real_nets import closeness, nets, tracks
from tests.stages.clips import read_clip


@pytest.fixture(scope="module")
def found(shared_root: Path) -> dict[str, FaceTrack]:
    if not (shared_root / "weights" / "test_only").is_dir():
        pytest.skip("needs the local-only nets ../shared/weights/test_only")
    return tracks(shared_root)


def test_the_main_person_s_face_is_found_in_nearly_every_frame(found: dict[str, FaceTrack]) -> None:
    assert {name: track.valid.mean() >= 0.9 for name, track in found.items()} == dict.fromkeys(found, True)


def test_a_person_is_closer_to_themselves_than_to_others(found: dict[str, FaceTrack]) -> None:
    same, others = closeness(found)
    for cosines in same.values():
        assert np.median(cosines) > others.max()
    # The dancer is too blurred in some frames to be anybody.
    assert same["controlnext_01.mp4"].min() > 0.6
    assert same["dreampose_demo.mov"].min() > 0.6


def test_every_person_s_mean_face_is_theirs_in_almost_every_frame(found: dict[str, FaceTrack]) -> None:
    unit = {name: unit_length(track.embeddings[track.valid]) for name, track in found.items()}
    means = {name: unit_length(rows.mean(axis=0)) for name, rows in unit.items()}
    for name, rows in unit.items():
        own = rows @ means[name]
        other = np.max([rows @ means[other] for other in unit if other != name], axis=0)
        assert (own > other).mean() >= 0.95


def test_in_a_crowd_the_tracked_person_s_face_is_taken_and_not_the_largest(shared_root: Path) -> None:
    """People walk behind each other, so that larger faces are in the boxes of those behind: the key points decide."""
    detector, recogniser = nets(shared_root)
    frames, _ = read_clip(shared_root / "media" / "facenet_video.mp4", 1)
    faces = detector.detect(frames[0])
    assert len(faces) >= 3
    for index in range(len(faces)):
        x0, y0, x1, y1 = faces.boxes[index]
        side = x1 - x0
        person = np.array([[x0 - side, y0, x1 + side, y1 + 6 * (y1 - y0)]], np.float32)
        points, scores = np.zeros((1, 133, 2), np.float32), np.zeros((1, 133), np.float32)
        # Nose, left and right eye as another net would see them: a tenth of the face away.
        points[0, :3] = faces.points[index][[2, 1, 0]] + [0.08 * side, -0.05 * side]
        scores[0, :3] = 0.8
        track = track_face(detector, recogniser, frames, person, Keypoints(points, scores, person, "test"))
        np.testing.assert_array_equal(track.boxes[0], faces.boxes[index])
