"""Checksums of weight files: part of the identity of every unit that used them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from pipelines.engine.atomic import file_digest


@cache
def weight_digest(path: Path) -> str:
    """sha256 of a weight file; asked for many times, read once."""
    return file_digest(path)


def weight_digests(paths: Iterable[Path]) -> dict[str, str]:
    """File name -> sha256, for a stage's identity: where a file lies does not matter, what it holds does."""
    return {path.name: weight_digest(path) for path in paths}
