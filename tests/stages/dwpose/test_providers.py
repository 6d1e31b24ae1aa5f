"""A GPU that was asked for is used, or somebody hears of it. No GPU is here: ONNX Runtime's answers are made up."""

from __future__ import annotations

import warnings
from pathlib import Path

import onnxruntime
import pytest

from pipelines.stages.dwpose import session
from pipelines.stages.dwpose.estimator import DWPose
from pipelines.stages.dwpose.providers import CPU, CUDA, TENSORRT, ProviderError, check, gpu_visible, wanted

GPU_BUILD = (TENSORRT, CUDA, CPU)


def names(providers: list) -> list[str]:
    return [provider if isinstance(provider, str) else provider[0] for provider in providers]


def test_cuda_is_asked_for_with_the_cpu_behind_it() -> None:
    assert names(wanted("cuda", GPU_BUILD)) == [CUDA, CPU]


def test_tensorrt_falls_to_cuda_for_what_it_cannot_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    chosen = wanted("tensorrt", GPU_BUILD)
    assert names(chosen) == [TENSORRT, CUDA, CPU]
    assert chosen[0][1]["trt_engine_cache_path"] == str(tmp_path / "vividpose" / "tensorrt")


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_build_without_the_provider_is_an_error_that_says_what_to_install(device: str) -> None:
    with pytest.raises(ProviderError, match="onnxruntime-gpu"):
        wanted(device, [CPU])  # type: ignore[arg-type]


def test_a_session_that_fell_back_is_an_error() -> None:
    with pytest.raises(ProviderError, match="fell back"):
        check("cuda", [CPU], gpu=True)
    with pytest.raises(ProviderError, match="fell back"):
        check("tensorrt", [CUDA, CPU], gpu=True)


def test_auto_on_the_cpu_beside_a_gpu_is_loud() -> None:
    with pytest.warns(RuntimeWarning, match="HAS A GPU"):
        assert check("auto", [CPU], gpu=True) == "cpu"


@pytest.mark.parametrize(("device", "gpu"), [("auto", False), ("cpu", True)])
def test_the_cpu_on_purpose_is_silent(device: str, gpu: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check(device, [CPU], gpu) == "cpu"  # type: ignore[arg-type]


def test_what_runs_is_told() -> None:
    assert check("auto", [CUDA, CPU], gpu=True) == "cuda"


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_a_hidden_gpu_is_not_visible(monkeypatch: pytest.MonkeyPatch, hidden: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert not gpu_visible()


def test_an_unknown_device_is_an_error() -> None:
    with pytest.raises(ValueError, match="auto, cuda, tensorrt, cpu"):
        wanted("gpu", [CPU])  # type: ignore[arg-type]


def test_dwpose_on_cuda_without_cuda_is_an_error(nets: Path) -> None:
    if CUDA in onnxruntime.get_available_providers():
        pytest.skip("this build of ONNX Runtime has CUDA")
    with pytest.raises(ProviderError, match="has only"):
        DWPose(nets / "dw-ll_ucoco_384.onnx", "cuda")


def test_a_gpu_without_memory_is_not_a_damaged_file(nets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = onnxruntime.InferenceSession

    def full_gpu(path: str, options: object, providers: list) -> onnxruntime.InferenceSession:
        if CUDA in names(providers):
            raise session.ort_errors.RuntimeException("CUDA failure 2: out of memory")
        return real(path, options, providers=providers)

    monkeypatch.setattr(session.ort, "InferenceSession", full_gpu)
    monkeypatch.setattr(session.ort, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(session.ort, "preload_dlls", lambda: None)
    with pytest.raises(ProviderError, match="out of memory"):
        DWPose(nets / "dw-ll_ucoco_384.onnx", "cuda")


def test_a_session_that_says_cpu_after_cuda_was_asked_for_is_an_error(
    nets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a CUDA build of ONNX Runtime behaves where a library is missing: it makes the session, on the CPU."""
    real = onnxruntime.InferenceSession
    monkeypatch.setattr(
        session.ort, "InferenceSession", lambda path, options, providers: real(path, options, providers=[CPU])
    )
    monkeypatch.setattr(session.ort, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(session.ort, "preload_dlls", lambda: None)
    with pytest.raises(ProviderError, match="fell back"):
        DWPose(nets / "dw-ll_ucoco_384.onnx", "cuda")


def test_dwpose_says_what_it_runs_on(nets: Path) -> None:
    assert DWPose(nets / "dw-ll_ucoco_384.onnx", "cpu").net.running_on == "cpu"
