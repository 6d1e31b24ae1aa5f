"""Videos for whole runs of the job, made on the spot."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.demo import make_demo_videos


@pytest.fixture(scope="session")
def demo_clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two short demo videos of one person each."""
    folder = tmp_path_factory.mktemp("demo clips")
    make_demo_videos(folder, seconds=2.0, only=("wave", "squat"))
    return folder
