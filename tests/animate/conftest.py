"""A drawn person as reference and as driver, and runs of the tiny model on them."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.animate.jobs import JobLine, parse_job
from pipelines.animate.run import run_animate
from pipelines.animate.settings import AnimateSettings
from pipelines.animate.summary import Summary
from pipelines.settings import build, over, plain
from pipelines.video.encode import ClipWriter
from tests.stages.drawn_person import drawn_person

FRAMES, FPS = 10, 10
SMALL: dict[str, Any] = {"steps": 1, "guidance": [1.0, 1.0], "size": [32, 48]}
SETTINGS: dict[str, Any] = {"profile": "lite", "executor": "inline", "body": {"iterations": 20}}


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with reference.png (360x480), other.png (400x400) and driver.mp4 (360x480, 10 frames a second, 1 s)."""
    folder = tmp_path_factory.mktemp("inputs")
    Image.fromarray(drawn_person(arm=0.9)).save(folder / "reference.png")
    Image.fromarray(drawn_person(400, 400)).save(folder / "other.png")
    with ClipWriter(folder / "driver.mp4", (360, 480), Fraction(FPS)) as writer:
        for arm in np.linspace(0.3, 1.6, FRAMES):
            writer.write(drawn_person(arm=float(arm)))
    return folder


Animate = Callable[..., Summary]


@pytest.fixture(scope="session")
def animate(inputs: Path) -> Animate:
    """Runs jobs given as dictionaries over `SMALL`; reference and driving are those of `inputs` unless given."""

    def run(out: Path, *jobs: dict[str, Any], settings: dict[str, Any] | None = None, **options: Any) -> Summary:
        lines = []
        for number, job in enumerate(jobs, 1):
            data = {"reference": "reference.png", "driving": "driver.mp4", **SMALL, **job}
            lines.append(JobLine(f"job {number}", parse_job(data, f"job {number}")))
        return run_animate(lines, out, settings_from(settings or {}), base=inputs, **options)

    return run


def settings_from(data: dict[str, Any]) -> AnimateSettings:
    return build(AnimateSettings, over(over(plain(AnimateSettings()), SETTINGS), data))


@pytest.fixture(scope="session")
def made(animate: Animate, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a first run: job `first` with everything, and its poses."""
    out = tmp_path_factory.mktemp("made")
    summary = animate(out, {"name": "first", "compare": True, "frames": True, "poses": True})
    assert [ending.status for ending in summary.endings] == ["done"], summary
    return out
