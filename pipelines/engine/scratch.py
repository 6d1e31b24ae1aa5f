"""Local files for a while: where encoders and decoders need a path and the dataset lies in an object store.

They lie under `VIVIDPOSE_SCRATCH`, or else the system's temporary folder (`TMPDIR`). What a killed process left there
is removed by the next one on the same machine.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from pipelines.engine.atomic import disk_full_as_such
from pipelines.engine.host import alive, this_host

PREFIX = "vividpose-scratch."


def scratch_base() -> Path:
    return Path(os.environ.get("VIVIDPOSE_SCRATCH") or tempfile.gettempdir())


@lru_cache
def _folder(process: int) -> Path:
    base = scratch_base()
    base.mkdir(parents=True, exist_ok=True)
    remove_abandoned(base)
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{this_host()}.{process}.", dir=base))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def scratch_folder(name: str) -> Path:
    """A fresh, empty folder of this process."""
    with disk_full_as_such(scratch_base()):
        return Path(tempfile.mkdtemp(prefix=f"{name}.", dir=_folder(os.getpid())))


@contextmanager
def scratch_file(name: str) -> Iterator[Path]:
    """A path to write one file at, gone when the block ends."""
    folder = scratch_folder("file")
    try:
        with disk_full_as_such(folder):
            yield folder / Path(name).name
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(base: Path) -> int:
    """Remove scratch folders of processes of this machine that are gone. Returns how many went."""
    removed = 0
    ours = f"{PREFIX}{this_host()}."
    for folder in base.glob(f"{ours}*"):
        process = folder.name.removeprefix(ours).partition(".")[0]
        if process.isdecimal() and not alive(int(process)) and os.access(folder, os.W_OK):
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
    return removed
