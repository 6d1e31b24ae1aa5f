"""Which ONNX Runtime execution provider runs a net, and a check that it is the one that was asked for.

ONNX Runtime goes on without a word on the CPU when CUDA cannot be used, about a hundred times slower. So the session is
asked, after it is made, what it runs on.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pipelines.engine.setup_error import SetupError

Device = Literal["auto", "cuda", "tensorrt", "cpu"]

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"

# A search by timing would pick another algorithm, and other last bits, from run to run; TF32 has ten bits of mantissa.
CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}

INSTALL = (
    "install the GPU build last, alone: pip uninstall -y onnxruntime onnxruntime-gpu; "
    "pip install --force-reinstall --no-deps onnxruntime-gpu; it needs the CUDA 12 and cuDNN 9 libraries "
    "(those that come with a CUDA build of torch will do)"
)


class ProviderError(SetupError):
    """The device that was asked for cannot be used."""


def gpu_visible() -> bool:
    """Whether this process may see an NVIDIA GPU: there is a driver, and CUDA_VISIBLE_DEVICES does not hide it."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return False
    return any(Path(node).exists() for node in ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg"))


def wanted(device: Device, available: Sequence[str]) -> list[str | tuple[str, dict[str, Any]]]:
    """The providers to make a session with, best first.

    `auto` takes CUDA where this build of ONNX Runtime has it; TensorRT, which compiles for minutes, only when asked.
    Raises ProviderError when this build lacks what was asked for, ValueError for an unknown device.
    """
    if device not in get_args(Device):
        raise ValueError(f"device: expected one of {', '.join(get_args(Device))}, got {device!r}")
    needed = {"cuda": CUDA, "tensorrt": TENSORRT}.get(device)
    if needed is not None and needed not in available:
        raise ProviderError(
            f"{device} was asked for, but this build of ONNX Runtime has only {', '.join(available)}: {INSTALL}"
        )
    chosen: list[str | tuple[str, dict[str, Any]]] = []
    if device == "tensorrt":
        chosen.append((TENSORRT, tensorrt_options()))
    if device in ("cuda", "tensorrt") or (device == "auto" and CUDA in available and gpu_visible()):
        chosen.append((CUDA, CUDA_OPTIONS))
    return [*chosen, CPU]


def tensorrt_options() -> dict[str, Any]:
    """Engines are kept on disk ($XDG_CACHE_HOME or ~/.cache): compiling one takes minutes."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vividpose" / "tensorrt"
    cache.mkdir(parents=True, exist_ok=True)
    return {
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(cache),
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": str(cache),
    }


def check(device: Device, running: Sequence[str], gpu: bool) -> str:
    """What a session runs on, given the providers that it says it has (`session.get_providers()`).

    gpu: whether a GPU is visible. Returns "cuda", "tensorrt" or "cpu". Raises ProviderError when a GPU was asked for
    and the session fell back; warns (RuntimeWarning) when `auto` ends on the CPU of a machine with a GPU.
    """
    got = "tensorrt" if TENSORRT in running else "cuda" if CUDA in running else "cpu"
    if device in ("cuda", "tensorrt") and got != device:
        raise ProviderError(
            f"{device} was asked for, but ONNX Runtime fell back to {', '.join(running)}: a library is missing or does "
            f"not fit the driver (its own message is on stderr). To repair it, {INSTALL}"
        )
    if device == "auto" and got == "cpu" and gpu:
        warnings.warn(
            "THIS MACHINE HAS A GPU, BUT ONNX RUNTIME RUNS ON THE CPU, about a hundred times slower. "
            f"To use the GPU, {INSTALL}. To have the CPU without this warning, ask for device cpu",
            RuntimeWarning,
            stacklevel=3,
        )
    return got
