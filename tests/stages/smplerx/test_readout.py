from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from scipy.spatial.transform import Rotation

from pipelines.stages.smplerx.heads import square_boxes
from pipelines.stages.smplerx.readout import features_at, mirrored, rotations_from_6d, soft_argmax
from pipelines.stages.smplerx.roi_align import roi_align


def test_soft_argmax_is_the_mean_cell_under_the_softmax() -> None:
    volume = torch.from_numpy(np.random.default_rng(0).normal(0, 2, (2, 3, 4, 5, 6)).astype(np.float32))
    got = soft_argmax(volume)
    for n, j in np.ndindex(2, 3):
        weights = np.exp(volume[n, j].double().numpy())
        expected = np.zeros(3)
        for z, y, x in np.ndindex(4, 5, 6):
            expected += weights[z, y, x] * np.array([x, y, z])
        np.testing.assert_allclose(got[n, j], expected / weights.sum(), atol=1e-5)


def test_soft_argmax_of_a_map_gives_x_before_y() -> None:
    heat = torch.full((1, 1, 8, 12), -100.0)
    heat[0, 0, 3, 9] = 100
    np.testing.assert_allclose(soft_argmax(heat)[0, 0], [9, 3], atol=1e-4)


def test_features_are_interpolated_between_cells_and_zero_outside() -> None:
    ramp = torch.arange(12.0) + 100 * torch.arange(8.0)[:, None]
    points = torch.tensor([[[2.25, 3.5], [0.0, 7.0], [-2.0, 3.0]]])
    got = features_at(ramp[None, None], points)[0, :, 0]
    np.testing.assert_allclose(got, [352.25, 700.0, 0.0], atol=1e-3)


@given(st.lists(st.floats(-3, 3), min_size=3, max_size=3), st.floats(0.1, 9), st.floats(0.1, 9), st.floats(-2, 2))
@settings(max_examples=60, deadline=None)
def test_six_numbers_are_the_first_two_columns_of_a_rotation(turn: list, a: float, b: float, c: float) -> None:
    rotation = Rotation.from_rotvec(turn).as_matrix()
    # Gram-Schmidt undoes a stretched first column and a second one that leans to the first.
    columns = np.stack([a * rotation[:, 0], b * rotation[:, 1] + c * rotation[:, 0]], axis=1)
    got = rotations_from_6d(torch.from_numpy(columns.reshape(1, 6)))
    np.testing.assert_allclose(got[0], rotation, atol=1e-5)


@given(st.lists(st.floats(-1.7, 1.7), min_size=3, max_size=3))
@settings(max_examples=60, deadline=None)
def test_mirroring_negates_y_and_z_of_the_axis_angle(turn: list) -> None:
    rotation = torch.from_numpy(Rotation.from_rotvec(turn).as_matrix())
    got = Rotation.from_matrix(mirrored(rotation).numpy()).as_rotvec()
    np.testing.assert_allclose(got, [turn[0], -turn[1], -turn[2]], atol=1e-6)


BOXES = {
    "inside": (5.3, 8.1, 22.7, 30.2),
    "smaller than a cell": (10.2, 11.4, 10.3, 11.9),
    "over the edges": (-9.5, -20.0, 60.0, 90.0),
    "outside": (70.0, 80.0, 90.0, 99.0),
    "ends swapped": (20.0, 30.0, 12.0, 18.0),
    "very large": (-200.0, -150.0, 300.0, 330.0),
}


# Up to four times as many cells as samples: the very large box is only compared below, in more bins.
@pytest.mark.parametrize("box", list(BOXES.values())[:-1], ids=list(BOXES)[:-1])
def test_roi_align_equals_its_definition(box: tuple[float, ...]) -> None:
    features = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 2, 64, 48)).astype(np.float32))
    got = roi_align(features, torch.tensor([box]), 4)
    expected = direct_roi_align(features[0].double().numpy(), np.float32(box).astype(np.float64), 4)
    np.testing.assert_allclose(got[0], expected, atol=1e-4)


def test_roi_align_equals_onnx_runtime_s() -> None:
    features = np.random.default_rng(1).normal(size=(len(BOXES), 3, 64, 48)).astype(np.float32)
    boxes = np.float32(list(BOXES.values()))
    value = helper.make_tensor_value_info
    node = helper.make_node(
        "RoiAlign", ["x", "rois", "batch"], ["y"], coordinate_transformation_mode="output_half_pixel",
        output_height=16, output_width=16, sampling_ratio=0, spatial_scale=1.0, mode="avg",
    )  # fmt: skip
    graph = helper.make_graph(
        [node], "roi",
        [value("x", TensorProto.FLOAT, list(features.shape)), value("rois", TensorProto.FLOAT, [len(boxes), 4]),
         value("batch", TensorProto.INT64, [len(boxes)])],
        [value("y", TensorProto.FLOAT, None)],
    )  # fmt: skip
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {"x": features, "rois": boxes, "batch": np.arange(len(boxes), dtype=np.int64)}
    got = roi_align(torch.from_numpy(features), torch.from_numpy(boxes), 16)
    np.testing.assert_allclose(got, session.run(None, feed)[0], atol=1e-4)


def test_hand_boxes_are_square_about_their_centre_and_twice_the_longer_side() -> None:
    got = square_boxes(torch.tensor([[5.0, 7.0]]), torch.tensor([[2.0, 3.0]]), 2.0)
    np.testing.assert_allclose(got, [[2, 4, 8, 10]])


def direct_roi_align(features: np.ndarray, box: np.ndarray, bins: int) -> np.ndarray:
    """RoIAlign sample by sample."""
    channels, height, width = features.shape
    extent = np.maximum(box[2:] - box[:2], 1)
    count = np.ceil(extent / bins).astype(int)
    out = np.zeros((channels, bins, bins))
    for p, q in np.ndindex(bins, bins):
        for i, j in np.ndindex(count[1], count[0]):
            x = box[0] + extent[0] / bins * (q + (j + 0.5) / count[0])
            y = box[1] + extent[1] / bins * (p + (i + 0.5) / count[1])
            if -1 <= x <= width and -1 <= y <= height:
                out[:, p, q] += bilinear(features, min(max(x, 0), width - 1), min(max(y, 0), height - 1))
        out[:, p, q] /= count.prod()
    return out


def bilinear(features: np.ndarray, x: float, y: float) -> np.ndarray:
    x0, y0 = int(x), int(y)
    x1, y1 = min(x0 + 1, features.shape[2] - 1), min(y0 + 1, features.shape[1] - 1)
    a, b = x - x0, y - y0
    top = (1 - a) * features[:, y0, x0] + a * features[:, y0, x1]
    return (1 - b) * top + b * ((1 - a) * features[:, y1, x0] + a * features[:, y1, x1])
