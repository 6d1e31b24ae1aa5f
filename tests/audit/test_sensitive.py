"""A classifier that the user brings: taken when it is one, refused in one line when not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipelines.audit.sensitive import checked_scores, load_classifier
from pipelines.engine.setup_error import SetupError


class Bright:
    """Calls bright pictures sensitive."""

    def identity(self) -> dict[str, Any]:
        return {"name": "bright", "version": "1"}

    def __call__(self, frames: np.ndarray) -> dict[str, float]:
        return {"nsfw": float(frames.mean() / 255)}


def test_a_classifier_is_found_by_its_name():
    made = load_classifier(f"{__name__}:Bright")
    assert checked_scores(made(np.full((4, 8, 8, 3), 51, np.uint8)), "x") == {"minor": None, "nsfw": pytest.approx(0.2)}


@pytest.mark.parametrize("spec", ["nothing", ":", "no.such.module:A", "os:no_such_name", "os:getcwd", "json:dumps"])
def test_what_is_no_classifier_is_refused(spec: str):
    with pytest.raises(SetupError, match="--classifier"):
        load_classifier(spec)


@pytest.mark.parametrize("scores", [{"nsfw": 1.5}, {"nsfw": float("nan")}, {"age": 0.3}])
def test_scores_of_another_kind_are_refused(scores: dict[str, float]):
    with pytest.raises(SetupError):
        checked_scores(scores, "x")
