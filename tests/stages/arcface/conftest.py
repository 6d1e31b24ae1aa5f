from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("insightface", reason="needs the optional extra `full`")

from pipelines.stages.arcface import ArcFace, Pack
from tests.stages.arcface.conformance import write_arcface, write_other, write_scrfd


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """A folder as buffalo_l's, with conformance nets."""
    folder = tmp_path_factory.mktemp("insightface") / "buffalo_l"
    write_other(folder / "2d106det.onnx")
    return Pack(write_scrfd(folder / "det_10g.onnx"), write_arcface(folder / "w600k_r50.onnx"))


@pytest.fixture(scope="session")
def arcface(pack: Pack) -> ArcFace:
    return ArcFace(pack.detector, pack.recogniser, device="cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path
