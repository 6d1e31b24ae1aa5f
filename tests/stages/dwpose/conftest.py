from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="the conformance nets are written with the package onnx: pip install onnx")

from tests.stages.dwpose import conformance


@pytest.fixture(scope="session")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the conformance nets; those named *_many take any batch."""
    folder = tmp_path_factory.mktemp("nets")
    conformance.write_nets(folder)
    conformance.silhouette_yolox(folder / "yolox_many.onnx", batch="batch")
    conformance.random_yolox(folder / "yolox_random.onnx")
    conformance.colour_pose(folder / "pose_colour.onnx")
    conformance.random_pose(folder / "pose_random.onnx")
    conformance.random_pose(folder / "pose_random_many.onnx", batch="batch")
    return folder
