"""Videos for whole runs of the job, made on the spot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.demo import FILMS, make_demo_videos


@pytest.fixture(scope="session")
def demo_clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two short demo videos of one person each."""
    folder = tmp_path_factory.mktemp("demo clips")
    short = [
        replace(film, shots=(replace(film.shots[0], seconds=2.2),)) for film in FILMS if film.name in ("wave", "squat")
    ]
    make_demo_videos(folder, films=short)
    return folder
