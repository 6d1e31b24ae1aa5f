"""The one error for a weight file that cannot be used."""

from __future__ import annotations

from pathlib import Path

from pipelines.engine.setup_error import SetupError


class WeightsError(SetupError, ValueError):
    """A file of weights that is missing, damaged, or not what the stage needs.

    path: the file. message: what was expected, what came, and what to do.
    """

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(path, message)
        self.path = path
        self.message = message

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"
