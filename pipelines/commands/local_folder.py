"""The folder of a dataset, where a command works on files in place."""

from __future__ import annotations

from pathlib import Path

from pipelines.settings import BadSettings


def local_folder(address: str) -> Path:
    """The folder that an address names. Raises `BadSettings` for one on an object store: its files cannot be mapped,
    locked or rewritten in place."""
    if "://" in address:
        raise BadSettings(f"{address}: this command works on a folder; mount or copy the dataset first")
    return Path(address)
