"""Possible minors and nudity: flags for a person to review, from a classifier that the user brings. None is shipped.

Apparent age is an estimate with large errors: a flag says "look at this", never "this is so". Without a classifier the
columns are null and the summary says that the check did not run; it never says that nothing was found.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Protocol

from pipelines.clip import Frames
from pipelines.engine.setup_error import SetupError

COLUMNS = ("minor", "nsfw")


class Classifier(Protocol):
    """identity: everything the scores depend on (name, version, sha256 of the weights), JSON-able."""

    def identity(self) -> dict[str, Any]: ...

    def __call__(self, frames: Frames) -> Mapping[str, float]:
        """frames: uint8 (N, H, W, 3) RGB, evenly spread over a clip. Scores 0..1 under "minor", "nsfw" or both."""
        ...


def load_classifier(spec: str) -> Classifier:
    """The classifier named `package.module:name`: a class or function without arguments that makes one.

    Raises `SetupError` in one line where there is none.
    """
    module, _, name = spec.partition(":")
    if not module or not name:
        raise SetupError(f"--classifier {spec!r}: write it as package.module:name")
    try:
        made = getattr(importlib.import_module(module), name)()
    except (ImportError, AttributeError, TypeError) as error:
        raise SetupError(f"--classifier {spec!r} cannot be loaded: {error}") from error
    if not callable(made) or not hasattr(made, "identity"):
        raise SetupError(f"--classifier {spec!r} is no classifier: it needs identity() and to be callable")
    return made


def checked_scores(scores: Mapping[str, float], spec: str) -> dict[str, float | None]:
    """The scores by column; what the classifier does not speak of is None. Raises `SetupError` for anything else."""
    unknown = sorted(set(scores) - set(COLUMNS))
    if unknown:
        raise SetupError(f"--classifier {spec!r} gave {', '.join(unknown)}; expected {' and '.join(COLUMNS)}")
    for name, value in scores.items():
        if not 0 <= float(value) <= 1:
            raise SetupError(f"--classifier {spec!r} gave {name} = {value}; expected 0 to 1")
    return {name: float(scores[name]) if name in scores else None for name in COLUMNS}
