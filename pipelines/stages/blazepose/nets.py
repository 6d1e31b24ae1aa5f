"""The six nets as ONNX Runtime sessions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from pipelines.clip import Floats

WEIGHTS = Path(__file__).parent / "weights"
NAMES = (
    "pose_detection",
    "pose_landmark_full",
    "hand_recrop",
    "hand_landmark_full",
    "face_detection_short_range",
    "face_landmark",
)
CPU = ("CPUExecutionProvider",)


def weights() -> tuple[Path, ...]:
    """The files that the results depend on, in a fixed order, for hashing into unit ids."""
    return tuple(WEIGHTS / f"{name}.onnx" for name in NAMES)


def _varint(number: int) -> bytes:
    groups = []
    while number > 127:
        groups.append(number & 127 | 128)
        number >>= 7
    return bytes([*groups, number])


def _message(field: int, payload: bytes) -> bytes:
    """A length-delimited field of a protocol buffer."""
    return _varint(field << 3 | 2) + _varint(len(payload)) + payload


def with_output(model: bytes, name: str) -> bytes:
    """The ONNX model with one more of its inner float32 values declared as an output.

    A protocol buffer in which a message appears twice means both merged, and repeated fields append; so a second
    `graph` holding nothing but one `output` is enough, and the `onnx` package is not needed.
    """
    graph, output, value_name, value_type, tensor_type, element_type, float32 = 7, 12, 1, 2, 1, 1, 1
    tensor = _varint(element_type << 3) + _varint(float32)
    value = _message(value_name, name.encode()) + _message(value_type, _message(tensor_type, tensor))
    return model + _message(graph, _message(output, value))


class Net:
    """One net. The graphs have a fixed batch of one, so `__call__` runs one picture; there is no hidden loop.

    Nothing is lost by that on a processor core: with the graphs rewritten for a batch of four, a hand took 8.2 ms as it
    does alone, a face 4.0, and a body 25 instead of 17.

    providers: ONNX Runtime execution providers, in order of preference. A provider that this build of ONNX Runtime
    lacks is an error: ONNX Runtime itself would go on without a word, on the CPU.
    extra_output: an inner value of the graph to return after the declared outputs.
    """

    def __init__(self, name: str, providers: Sequence[str] = CPU, extra_output: str | None = None) -> None:
        if name not in NAMES:
            raise ValueError(f"no net named {name!r}; there are {', '.join(NAMES)}")
        missing = sorted(set(providers) - set(ort.get_available_providers()))
        if missing:
            raise ValueError(
                f"ONNX Runtime {ort.__version__} here has no {', '.join(missing)}; it has "
                f"{', '.join(ort.get_available_providers())}. On a GPU machine install onnxruntime-gpu last"
            )
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        model = (WEIGHTS / f"{name}.onnx").read_bytes()
        if extra_output is not None:
            model = with_output(model, extra_output)
        self.session = ort.InferenceSession(model, options, providers=list(providers))
        spec = self.session.get_inputs()[0]
        self.input = spec.name
        self.size = int(spec.shape[1])
        self.outputs = [output.name for output in self.session.get_outputs()]

    def __call__(self, picture: NDArray[np.float32]) -> list[Floats]:
        """picture: float32 (size, size, 3), RGB, in the range that the net expects. Returns its outputs, unbatched."""
        return [output[0] for output in self.session.run(self.outputs, {self.input: picture[None]})]
