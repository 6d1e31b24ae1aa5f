from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.body.model import Body, load_body
from tests.body.conformance import write_smplx_file
from tests.stages.smplerx.published import write_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with every key and shape of the published S size, and random values."""
    return write_checkpoint(tmp_path_factory.mktemp("smplerx") / "smpler_x_s32.pth.tar")


@pytest.fixture(scope="session")
def smplx_body(tmp_path_factory: pytest.TempPathFactory) -> Body:
    """A body file of the licensed one's sizes."""
    return load_body(write_smplx_file(tmp_path_factory.mktemp("smplx") / "SMPLX_NEUTRAL.npz"), trust_pickle=True)
