"""Against rtmlib, an independent implementation, on the same nets and the same real frames.

Where the two differ by design:
    channels  rtmlib hands both nets whatever it is given. YOLOX learnt BGR and RTMPose RGB (mmpose swaps in its data
              preprocessor, and the statistics are those of R, G, B), so here each gets its own. Right: one order each.
    0.5       rtmlib counts pixels from the centre of the first one; `pipelines.clip` from the image's corner.
    scores    rtmlib averages the two axes; DWPose takes the smaller. A point of which one coordinate is unknown is not
              half known: right is the smaller.
    0.7       rtmlib's default least score of a box; DWPose's is 0.3.
    classes   rtmlib's mode "human" returns boxes of all classes; here are people only.
    letterbox rtmlib divides boxes by the ratio; here by what the side was really shrunk by (test_geometry.py says why).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.clip import Frames
from pipelines.stages.dwpose.crop import crop_of_box, normalised
from pipelines.stages.dwpose.estimator import DWPose
from pipelines.stages.dwpose.yolox import Yolox, shrunk_size
from tests.stages.clips import read_clip
from tests.stages.drawn_person import drawn_person

rtmlib = pytest.importorskip("rtmlib", reason="parity needs rtmlib: pip install --no-deps rtmlib")

VIDEOS = (
    "controlnext_01.mp4",
    "dreampose_demo.mov",
    "facenet_video.mp4",
    "finetrainers_hiker.mp4",
    "musepose_dance.mp4",
    "openpose_video.avi",
)


@pytest.fixture(scope="module", params=["drawn", "real"])
def frames(request: pytest.FixtureRequest) -> list[Frames]:
    """Drawn people on noise, which is everywhere; frames of real videos, where those are."""
    if request.param == "drawn":
        rng = np.random.default_rng(0)
        sizes = [(480, 640), (1280, 720), (300, 300), (501, 333)]
        people = [drawn_person(*size, at=(0.4 + 0.05 * i, 0.5)) for i, size in enumerate(sizes)]
        return [np.clip(p + rng.normal(0, 12, p.shape), 0, 255).astype(np.uint8) for p in people]
    media = request.getfixturevalue("shared_media")
    return [frame for name in VIDEOS for frame in read_clip(media / name, 21, 20)[0]]


@pytest.mark.parametrize("net", ["yolox_random.onnx", "yolox_l.onnx"])
def test_boxes_are_those_of_rtmlib(nets: Path, frames: list[Frames], net: str) -> None:
    theirs = rtmlib.YOLOX(
        str(nets / net),
        model_input_size=(640, 640),
        det_mode="multiclass",
        nms_thr=0.45,
        score_thr=0.3,
        backend="onnxruntime",
    )
    ours = Yolox(nets / net, "cpu")
    count = 0
    for frame in frames:
        boxes, classes = theirs(np.ascontiguousarray(frame[..., ::-1]))
        boxes = boxes[classes == 0]
        height, width = frame.shape[:2]
        ratio = min(640 / width, 640 / height)
        across, down = shrunk_size(width, height, (640, 640))
        boxes = boxes * (np.array([ratio * width / across, ratio * height / down] * 2))
        found = ours([frame])[0].boxes
        assert len(found) == len(boxes)
        away = np.abs(found[:, None] - boxes[None]).max(-1)
        assert away.min(0).max(initial=0) < 0.5
        assert away.min(1).max(initial=0) < 0.5
        count += len(found)
    assert count >= len(frames)


def test_points_are_those_of_rtmlib(nets: Path, frames: list[Frames]) -> None:
    theirs = rtmlib.RTMPose(str(nets / "pose_random.onnx"), model_input_size=(288, 384), backend="onnxruntime")
    ours = DWPose(nets / "pose_random.onnx", "cpu")
    rng = np.random.default_rng(0)
    away = []
    for frame in frames:
        size = np.array(frame.shape[1::-1])
        low = rng.uniform(-0.1, 0.4, (2, 2)) * size
        boxes = np.concatenate([low, low + rng.uniform(0.1, 0.6, (2, 2)) * size], axis=1).astype(np.float32)
        for box in boxes:
            crop = crop_of_box(box, (384, 288))
            assert crop is not None
            picture, _, _ = theirs.preprocess(frame, box)
            np.testing.assert_array_equal(
                normalised(crop.picture(frame)[None])[0], picture.transpose(2, 0, 1).astype(np.float32)
            )
        expected, _ = theirs(frame, boxes)
        found, scores = ours.people(frame, boxes)
        assert (scores > 0).all()
        away.append(np.abs(found - 0.5 - expected).max(-1).ravel())
    away = np.concatenate(away)
    assert np.ptp(np.concatenate([found[0], found[1]]), axis=0).min() > 20  # the net does look at the picture
    assert away.max() < 0.5


def test_scores_are_the_smaller_where_rtmlib_averages(nets: Path, frames: list[Frames]) -> None:
    theirs = rtmlib.RTMPose(str(nets / "pose_random.onnx"), model_input_size=(288, 384), backend="onnxruntime")
    ours = DWPose(nets / "pose_random.onnx", "cpu")
    frame = frames[0]
    box = np.array([[50, 50, 400, 700]], np.float32)
    picture, _, _ = theirs.preprocess(frame, box[0])
    x, y = (output.max(-1) for output in theirs.inference(picture))
    _, mean = theirs(frame, box)
    _, scores = ours.people(frame, box)
    np.testing.assert_allclose(mean, (x + y) / 2, atol=1e-5)
    np.testing.assert_allclose(scores, np.minimum(x, y), atol=1e-5)
