"""Any batch, any size by shape; and what is not such a net is refused with one clear error."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from pipelines.stages.dwpose.estimator import DWPose
from pipelines.stages.dwpose.people_yolox import YoloxLook
from pipelines.stages.dwpose.yolox import Yolox
from pipelines.stages.people import PeopleFilter
from pipelines.weights_error import WeightsError
from tests.stages.dwpose.conformance import random_pose, silhouette_yolox
from tests.stages.dwpose.drawing import plain, rectangle
from tests.stages.dwpose.graphs import Graph


def walk(count: int = 13) -> tuple[np.ndarray, np.ndarray]:
    """Frames with a white figure that walks, and its boxes."""
    boxes = np.array([[100 + 8 * i, 60, 250 + 8 * i, 340] for i in range(count)], np.float32)
    return np.stack([rectangle(plain(480, 360), box, (255, 255, 255)) for box in boxes]), boxes


def test_people_filter_follows_by_yolox(nets: Path) -> None:
    frames, boxes = walk()
    people = PeopleFilter(look=YoloxLook(Yolox(nets / "yolox_l.onnx", "cpu")))(frames, fps=8)
    assert people.reason is None
    np.testing.assert_allclose(people.boxes, boxes, atol=0.5)


def test_frames_together_give_what_frames_alone_give(nets: Path) -> None:
    frames, _ = walk()
    alone = PeopleFilter(look=YoloxLook(Yolox(nets / "yolox_l.onnx", "cpu")))(frames, fps=8)
    together = PeopleFilter(look=YoloxLook(Yolox(nets / "yolox_many.onnx", "cpu", batch=3)))(frames, fps=8)
    assert alone.scores == together.scores
    np.testing.assert_array_equal(alone.boxes, together.boxes)


def test_people_together_give_what_people_alone_give(nets: Path) -> None:
    frames, boxes = walk(7)
    alone = DWPose(nets / "pose_random.onnx", "cpu")(frames, boxes)
    together = DWPose(nets / "pose_random_many.onnx", "cpu", batch=4)(frames, boxes)
    np.testing.assert_allclose(alone.points, together.points, atol=1.0)
    np.testing.assert_allclose(alone.scores, together.scores, atol=1e-3)


def test_chunks_give_the_same_bytes(nets: Path) -> None:
    frames, boxes = walk(7)
    pose = DWPose(nets / "pose_random_many.onnx", "cpu", batch=4)
    whole, chunked = pose(frames, boxes), pose((frames[i : i + 3] for i in range(0, 7, 3)), boxes)
    assert whole.points.tobytes() == chunked.points.tobytes()
    assert whole.scores.tobytes() == chunked.scores.tobytes()


def test_a_fixed_batch_is_filled_up(tmp_path: Path, nets: Path) -> None:
    frames, boxes = walk(7)
    four = DWPose(random_pose(tmp_path / "four.onnx", batch=4), "cpu")
    assert four.batch == 4
    many = DWPose(nets / "pose_random_many.onnx", "cpu", batch=4)
    np.testing.assert_allclose(four(frames, boxes).points, many(frames, boxes).points, atol=1.0)


def test_where_nobody_is_all_scores_are_0(nets: Path) -> None:
    frames, boxes = walk(3)
    boxes[1] = np.nan
    found = DWPose(nets / "dw-ll_ucoco_384.onnx", "cpu")(frames, boxes)
    assert (found.scores[1] == 0).all()
    assert (found.scores[[0, 2]] > 0.5).all()
    assert np.isfinite(found.points).all()


@pytest.mark.parametrize("count", [2, 4])
def test_frames_and_boxes_must_be_as_many(nets: Path, count: int) -> None:
    frames, boxes = walk(3)
    with pytest.raises(ValueError, match=r"boxes"):
        DWPose(nets / "dw-ll_ucoco_384.onnx", "cpu")(frames, np.resize(boxes, (count, 4)))


def test_a_frame_of_another_size_is_an_error(nets: Path) -> None:
    frames, boxes = walk(2)
    with pytest.raises(ValueError, match="one size per clip"):
        DWPose(nets / "dw-ll_ucoco_384.onnx", "cpu")([frames[:1], frames[1:, :100]], boxes)


@pytest.mark.parametrize(("size", "bins"), [((256, 192), 2), ((384, 288), 3), ((256, 256), 1)])
def test_other_sizes_and_bins_by_shape(tmp_path: Path, size: tuple[int, int], bins: int) -> None:
    frames, boxes = walk(1)
    pose = DWPose(random_pose(tmp_path / "pose.onnx", size, bins=bins), "cpu")
    points, scores = pose.people(frames[0], boxes)
    assert points.shape == (1, 133, 2)
    assert (scores > 0).all()


@pytest.mark.parametrize(("size", "classes"), [((416, 416), 80), ((320, 640), 1)])
def test_other_yolox_sizes_by_shape(tmp_path: Path, size: tuple[int, int], classes: int) -> None:
    frames, boxes = walk(1)
    found = Yolox(silhouette_yolox(tmp_path / "yolox.onnx", size, classes), "cpu")(frames)[0]
    np.testing.assert_allclose(found.boxes, boxes, atol=1.0)


def test_outputs_in_the_other_order_are_found_by_name(tmp_path: Path, nets: Path) -> None:
    swapped = random_pose(tmp_path / "pose.onnx")
    import onnx

    model = onnx.load(str(swapped))
    outputs = list(model.graph.output)
    del model.graph.output[:]
    model.graph.output.extend(outputs[::-1])
    onnx.save(model, str(swapped))
    frames, boxes = walk(1)
    expected, _ = DWPose(nets / "pose_random.onnx", "cpu").people(frames[0], boxes)
    found, _ = DWPose(swapped, "cpu").people(frames[0], boxes)
    np.testing.assert_array_equal(found, expected)


def nms_inside(path: Path) -> Path:
    """What mmdeploy writes for RTMPose's YOLOX: dets (1, N, 5) and labels (1, N)."""
    graph = Graph()
    graph.op("Mul", graph.reshape("input", (1, -1, 5)), graph.weight(1.0), name="dets")
    graph.op("ReduceMax", "dets", axes=[2], keepdims=0, name="labels")
    return graph.write(path, {"input": (1, 3, 640, 640)}, {"dets": (1, 245760, 5), "labels": (1, 245760)})


def open_input(path: Path) -> Path:
    graph = Graph()
    graph.op("Relu", "input", name="output")
    return graph.write(path, {"input": (1, 3, "height", "width")}, {"output": (1, 3, "height", "width")})


def test_nms_inside_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="without NMS inside"):
        Yolox(nms_inside(tmp_path / "yolox.onnx"), "cpu")


def test_an_open_input_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="H and W fixed"):
        Yolox(open_input(tmp_path / "yolox.onnx"), "cpu")


def test_a_pose_net_is_no_detector_and_the_other_way_round(nets: Path) -> None:
    with pytest.raises(WeightsError, match="YOLOX"):
        Yolox(nets / "dw-ll_ucoco_384.onnx", "cpu")
    with pytest.raises(WeightsError, match="SimCC"):
        DWPose(nets / "yolox_l.onnx", "cpu")


def test_a_pose_net_of_17_points_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="133"):
        DWPose(random_pose(tmp_path / "pose.onnx", points=17), "cpu")


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "html"])
def test_a_damaged_file_is_one_clear_error(nets: Path, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "net.onnx"
    good = (nets / "dw-ll_ucoco_384.onnx").read_bytes()
    if damage != "missing":
        path.write_bytes({"empty": b"", "truncated": good[: len(good) // 2], "html": b"<!DOCTYPE html>"}[damage])
    with pytest.raises(WeightsError) as caught:
        DWPose(path, "cpu")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(WeightsError(Path("a.onnx"), "no such file")))  # noqa: S301
    assert str(error) == "a.onnx: no such file"
    assert error.path == Path("a.onnx")


def test_a_net_that_answers_nan_is_an_error(tmp_path: Path) -> None:
    graph = Graph()
    flat = graph.op("ReduceMean", "input", axes=[1, 2, 3], keepdims=1)
    bad = graph.op("Log", graph.op("Sub", graph.reshape(flat, (-1, 1, 1)), graph.weight(1e6)))
    for name, length in (("simcc_x", 576), ("simcc_y", 768)):
        graph.op("Add", bad, graph.weight(np.zeros((1, 133, length))), name=name)
    shapes = {"simcc_x": (1, 133, 576), "simcc_y": (1, 133, 768)}
    pose = DWPose(graph.write(tmp_path / "nan.onnx", {"input": (1, 3, 384, 288)}, shapes), "cpu")
    frames, boxes = walk(1)
    with pytest.raises(WeightsError, match="not finite"):
        pose.people(frames[0], boxes)
