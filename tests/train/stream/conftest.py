"""One small dataset for all tests that only read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.train.stream.small_shards import small_dataset
from train.stream.settings import ClipSettings, DataSettings, StreamSettings


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 clips of 20 frames in three shards."""
    return small_dataset(tmp_path_factory.mktemp("small") / "data")


@pytest.fixture
def settings(dataset: Path) -> StreamSettings:
    return StreamSettings(
        data=(DataSettings(str(dataset)),), window=4, clip=ClipSettings(frames=3, size=(32, 48)), workers=0
    )
