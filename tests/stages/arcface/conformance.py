"""ONNX files with the interface of InsightFace's nets (names, shapes, types, ranges) and small random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

STRIDES = (8, 16, 32)
ANCHORS = 2
# Names in det_10g.onnx: scores of the three strides, then boxes, then points.
SCRFD_NAMES = ("448", "471", "494", "451", "474", "497", "454", "477", "500")
OPSET = 13


class _Graph:
    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def constant(self, value: NDArray) -> str:
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def add(self, kind: str, inputs: list[str], output: str | None = None, **attributes: object) -> str:
        output = output or f"value_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=f"{kind}_{len(self.nodes)}", **attributes))
        return output

    def conv(self, source: str, before: int, after: int, kernel: int, stride: int, bias: float = 0.0) -> str:
        weight = self.random.normal(size=(after, before, kernel, kernel)) / np.sqrt(before * kernel * kernel)
        inputs = [source, self.constant(weight.astype(np.float32)), self.constant(np.full(after, bias, np.float32))]
        return self.add("Conv", inputs, kernel_shape=[kernel, kernel], strides=[stride, stride])

    def write(self, path: Path, source: tuple[str, list], outputs: list[tuple[str, list]]) -> Path:
        def value(name: str, shape: list) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

        graph = helper.make_graph(
            self.nodes, "conformance", [value(*source)], [value(*output) for output in outputs], self.weights
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        onnx.checker.check_model(model)
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, path)
        return path


def write_scrfd(path: Path, seed: int = 0, points: bool = True) -> Path:
    """A detector as det_10g.onnx: pictures of any size, nine outputs, two anchors; finds a few faces in most pictures.
    """
    graph = _Graph(seed)
    trunk = graph.add("Tanh", [graph.conv("input.1", 3, 16, 8, 8)])
    kinds = [("score", 1, -0.9), ("box", 4, 3.0), ("points", 10, 0.0)][: 3 if points else 2]
    outputs: dict[str, list[tuple[str, list]]] = {kind: [] for kind, _, _ in kinds}
    names = iter(SCRFD_NAMES)
    named = {(kind, stride): next(names) for kind, _, _ in kinds for stride in STRIDES}
    for stride in STRIDES:
        if stride > STRIDES[0]:
            trunk = graph.add("AveragePool", [trunk], kernel_shape=[2, 2], strides=[2, 2])
        for kind, width, bias in kinds:
            heads = graph.conv(trunk, 16, ANCHORS * width, 1, 1, bias)
            if kind == "score":
                gain = graph.constant(np.float32(6))
                heads = graph.add("Sigmoid", [graph.add("Mul", [heads, gain])])
            if kind == "box":
                heads = graph.add("Relu", [heads])
            rows = graph.add("Transpose", [heads], perm=[0, 2, 3, 1])
            shape = graph.constant(np.array([-1, width], np.int64))
            output = graph.add("Reshape", [rows, shape], named[kind, stride])
            outputs[kind].append((output, [None, width]))
    return graph.write(path, ("input.1", [1, 3, "?", "?"]), [output for kind in outputs.values() for output in kind])


def write_arcface(path: Path, width: int = 512, batch: int | None = None, seed: int = 0) -> Path:
    """A recogniser as w600k_r50.onnx: 112x112, one vector a face, of length about 20."""
    graph = _Graph(seed)
    small = graph.add("Tanh", [graph.conv("input.1", 3, 8, 8, 8)])
    flat = graph.add("Flatten", [small], axis=1)
    weight = graph.constant((graph.random.normal(size=(8 * 14 * 14, width)) * 0.05).astype(np.float32))
    graph.add("Gemm", [flat, weight], "683")
    return graph.write(path, ("input.1", [batch or "None", 3, 112, 112]), [("683", [batch or "None", width])])


def write_other(path: Path, side: int = 192) -> Path:
    """One of the pack's other nets (2d106det.onnx), which is neither."""
    graph = _Graph(0)
    flat = graph.add("Flatten", [graph.conv("data", 3, 4, 32, 32)], axis=1)
    cells = (side // 32) ** 2 * 4
    graph.add("Gemm", [flat, graph.constant(np.zeros((cells, 212), np.float32))], "fc1")
    return graph.write(path, ("data", ["None", 3, side, side]), [("fc1", ["None", 212])])


def picture(size: tuple[int, int] = (360, 480), seed: int = 0) -> NDArray[np.uint8]:
    """A coarse pattern (H, W, 3), uint8, in which the random detector finds something."""
    import cv2

    height, width = size
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 24, width // 24, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
