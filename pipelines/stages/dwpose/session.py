"""One ONNX file as a net: loaded with clear errors, run in batches, whatever batch its graph was exported with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from pipelines.clip import Floats
from pipelines.stages.dwpose.providers import CPU, Device, ProviderError, check, gpu_visible, wanted
from pipelines.weights_error import WeightsError

LOAD_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoModel,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)
NOT_FINITE = "the net answers with values that are not finite: it is damaged, or float16 overflows on this device"
DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class Net:
    """A net that takes pictures.

    path: the ONNX file, with one input (N, 3, H, W), float32 or float16, of fixed H and W. device: see `providers`.
    threads: of the CPU provider; more than one is faster for one net, slower for many processes.

    input_size: (H, W) of the input. fixed_batch: N of the graph, or None when any number of pictures will do.
    running_on: "cuda", "tensorrt" or "cpu". output_names, output_shapes: as declared; a shape's int is fixed.

    Raises WeightsError for a file that is missing, damaged or of another form, ProviderError for the device.
    """

    def __init__(self, path: Path, device: Device = "auto", threads: int = 1) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise WeightsError(self.path, "no such file; `vividpose weights` tells where to get it")
        providers = wanted(device, ort.get_available_providers())
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.use_deterministic_compute = True
        if len(providers) > 1 and hasattr(ort, "preload_dlls"):
            ort.preload_dlls()  # finds the CUDA libraries that pip installed with torch
        try:
            self.session = ort.InferenceSession(str(self.path), options, providers=providers)
        except LOAD_ERRORS as error:
            if len(providers) > 1 and self._loads_on_cpu(options):
                raise ProviderError(
                    f"{self.path} loads on the CPU but not on the GPU: {_first_line(error)}. Free GPU memory, ask "
                    "for device cpu, or repair the GPU libraries"
                ) from error
            raise WeightsError(
                self.path,
                f"not an ONNX file that ONNX Runtime {ort.__version__} can load ({self.path.stat().st_size} bytes; "
                f"{_first_line(error)}). If a download was cut short, delete the file and fetch it again",
            ) from error
        self.running_on = check(device, self.session.get_providers(), gpu_visible())
        self._read_input()
        self.output_names = [output.name for output in self.session.get_outputs()]
        self.output_shapes = [tuple(output.shape) for output in self.session.get_outputs()]

    def _loads_on_cpu(self, options: ort.SessionOptions) -> bool:
        try:
            ort.InferenceSession(str(self.path), options, providers=[CPU])
        except LOAD_ERRORS:
            return False
        return True

    def _read_input(self) -> None:
        inputs = self.session.get_inputs()
        told = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
        expected = "expected one input of pictures (N, 3, H, W), float32 or float16, H and W fixed"
        if len(inputs) != 1 or inputs[0].type not in DTYPES or len(inputs[0].shape) != 4:
            raise WeightsError(self.path, f"{expected}; this net takes {told}")
        batch, channels, height, width = inputs[0].shape
        if channels != 3 or not isinstance(height, int) or not isinstance(width, int):
            raise WeightsError(self.path, f"{expected}; this net takes {told}")
        self.input_name = inputs[0].name
        self.dtype = DTYPES[inputs[0].type]
        self.input_size = (height, width)
        self.fixed_batch = batch if isinstance(batch, int) and batch > 0 else None

    def __call__(self, pictures: Floats, batch: int) -> list[NDArray[np.float32]]:
        """All outputs for pictures (N, 3, H, W), N at least 1, each with N rows.

        At most `batch` pictures go through at once, or what the graph is fixed to. A last part that is not full is
        filled up on a GPU, where every new shape is planned anew, and for a fixed batch; its rows are then dropped.
        """
        count = len(pictures)
        if pictures.shape[1:] != (3, *self.input_size) or count == 0:
            raise ValueError(
                f"pictures: expected (N, 3, {self.input_size[0]}, {self.input_size[1]}), got {pictures.shape}"
            )
        step = self.fixed_batch or max(1, batch)
        fill = self.fixed_batch is not None or self.running_on != "cpu"
        parts: list[list[NDArray[np.float32]]] = []
        for start in range(0, count, step):
            part = pictures[start : start + step].astype(self.dtype, copy=False)
            number = len(part)
            if fill and number < step:
                part = np.concatenate([part, np.zeros((step - number, *part.shape[1:]), part.dtype)])
            outputs = self.session.run(self.output_names, {self.input_name: part})
            parts.append([self._rows(output, len(part))[:number] for output in outputs])
        return [np.concatenate(rows) if len(rows) > 1 else rows[0] for rows in zip(*parts)]

    def _rows(self, output: NDArray[np.floating], count: int) -> NDArray[np.float32]:
        if output.ndim == 0 or len(output) != count:
            raise WeightsError(self.path, f"expected {count} rows, one a picture, in every output; got {output.shape}")
        return np.asarray(output, np.float32)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
