from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pipelines.stages.arcface import ArcFace, Pack

# insightface is optional.
collect_ignore_glob = [] if find_spec("insightface") else ["test_*.py"]


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """A folder as buffalo_l's, with conformance nets."""
    from pipelines.stages.arcface import Pack
    from tests.stages.arcface.conformance import write_arcface, write_other, write_scrfd

    folder = tmp_path_factory.mktemp("insightface") / "buffalo_l"
    write_other(folder / "2d106det.onnx")
    return Pack(write_scrfd(folder / "det_10g.onnx"), write_arcface(folder / "w600k_r50.onnx"))


@pytest.fixture(scope="session")
def arcface(pack: Pack) -> ArcFace:
    from pipelines.stages.arcface import ArcFace

    return ArcFace(pack.detector, pack.recogniser, device="cpu")
