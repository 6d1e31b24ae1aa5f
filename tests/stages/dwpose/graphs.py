"""Writing small ONNX graphs by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

Shape = Sequence[int | str]


class Graph:
    """A graph under construction. Values are named by strings; weights are float32 unless they are integers."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def _name(self) -> str:
        return f"v{len(self.nodes)}_{len(self.weights)}"

    def weight(self, value: ArrayLike, dtype: type = np.float32) -> str:
        name = f"w{self._name()}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def op(self, kind: str, *inputs: str, name: str | None = None, **attributes: object) -> str:
        out = name or self._name()
        self.nodes.append(helper.make_node(kind, list(inputs), [out], **attributes))
        return out

    def conv(self, x: str, kernel: NDArray[np.floating], bias: ArrayLike, stride: int = 1) -> str:
        """Padded so that a stride of 1 keeps the size and a stride of s divides it by s."""
        size = kernel.shape[-1]
        low = (size - 1) // 2 if stride == 1 else (size - stride) // 2
        high = size - stride - low
        inputs = (x, self.weight(kernel), self.weight(bias))
        return self.op("Conv", *inputs, strides=[stride, stride], pads=[low, low, high, high])

    def reshape(self, x: str, shape: Sequence[int], name: str | None = None) -> str:
        return self.op("Reshape", x, self.weight(shape, np.int64), name=name)

    def write(self, path: Path, inputs: dict[str, Shape], outputs: dict[str, Shape]) -> Path:
        graph = helper.make_graph(
            self.nodes,
            "conformance",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, str(path))
        return path
