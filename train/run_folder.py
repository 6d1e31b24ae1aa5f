"""The folder of a run: who works in it, and what it was started with."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

import yaml

from pipelines.engine.atomic import write_whole

FROZEN = "frozen.safetensors"
"""In the run's folder: the parameters that do not train, written once."""
ROOT = Path(__file__).resolve().parents[1]


class RunFolderBusy(RuntimeError):
    """Another run works in this folder."""


class Lock:
    """Held as long as this process lives, and no longer: the kernel lets go of it whatever ends the process."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] = (folder / "lock").open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read().strip() or "an unknown process"
            self._file.close()
            raise RunFolderBusy(
                f"another run works in {folder} ({holder}): wait for its end, or give this one a folder of its own "
                "with --set out=..."
            ) from None
        self._file.truncate(0)
        self._file.write(f"{socket.gethostname()}, process {os.getpid()}")
        self._file.flush()

    def release(self) -> None:
        self._file.close()


def code_version() -> dict[str, str]:
    """The version of this software, and the commit where it runs from a repository ("+changed" when files differ)."""
    try:
        told = {"package": version("vividpose")}
    except PackageNotFoundError:
        told = {"package": "unknown"}
    commit = _git("rev-parse", "HEAD")
    if commit:
        told["commit"] = commit + ("+changed" if _git("status", "--porcelain", "--untracked-files=no") else "")
    return told


def _git(*arguments: str) -> str:
    try:
        answer = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()


def save_settings(folder: Path, told: dict[str, Any]) -> None:
    """`run.yaml`: the settings, and what they met: code version, dataset hash, ranks."""
    write_whole(folder / "run.yaml", yaml.safe_dump(told, sort_keys=False, allow_unicode=True).encode())
