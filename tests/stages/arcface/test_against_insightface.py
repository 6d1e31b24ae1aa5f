"""The same nets and pictures through insightface's own application class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from insightface.app import FaceAnalysis

from pipelines.clip import Frames
from pipelines.stages.arcface import ArcFace, Pack, unit_length
from pipelines.stages.arcface.alignment import aligned
from tests.stages.arcface.conformance import picture
from tests.stages.clips import read_clip

pytestmark = pytest.mark.filterwarnings("ignore:.*estimate.*:FutureWarning")


@pytest.fixture(scope="module")
def application(pack: Pack) -> FaceAnalysis:
    app = FaceAnalysis(
        str(pack.detector.parent), allowed_modules=["detection", "recognition"], providers=["CPUExecutionProvider"]
    )
    app.prepare(0)
    return app


def compare(arcface: ArcFace, application: FaceAnalysis, frame: Frames) -> int:
    """Boxes and points within half a pixel, unit embeddings within 1e-4, of every face; how many there were.

    insightface finds the alignment in float32, this project in float64: a handful of a crop's 37632 values then differ
    by one grey level, which is the whole difference between the embeddings.
    """
    theirs = application.get(np.ascontiguousarray(frame[..., ::-1]))
    ours = arcface.detector.detect(frame)
    assert len(ours) == len(theirs)
    if not theirs:
        return 0
    np.testing.assert_allclose(ours.boxes, [face.bbox for face in theirs], atol=0.5)
    np.testing.assert_allclose(ours.points, [face.kps for face in theirs], atol=0.5)
    np.testing.assert_allclose(ours.scores, [face.det_score for face in theirs], atol=1e-5)
    embeddings = arcface.recogniser.embed([aligned(frame, points) for points in ours.points])
    np.testing.assert_allclose(unit_length(embeddings), [face.normed_embedding for face in theirs], atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), [face.embedding_norm for face in theirs], rtol=1e-4)
    return len(theirs)


@pytest.mark.parametrize(("size", "seed"), [((360, 480), 0), ((700, 400), 1), ((96, 200), 2)])
def test_faces_and_embeddings_equal_insightface_s(
    arcface: ArcFace, application: FaceAnalysis, size: tuple[int, int], seed: int
) -> None:
    assert compare(arcface, application, picture(size, seed)) > 0


def test_faces_and_embeddings_equal_insightface_s_on_real_frames(
    arcface: ArcFace, application: FaceAnalysis, shared_media: Path
) -> None:
    frames, _ = read_clip(shared_media / "controlnext_01.mp4", 60, 30)
    assert sum(compare(arcface, application, frame) for frame in frames) > 0
