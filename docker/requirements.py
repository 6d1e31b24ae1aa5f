"""Prints what pyproject.toml asks for, with the extras named: `python requirements.py pyproject.toml full gpu`.

So that an image can install the dependencies in a layer of their own, before the source, and keep it when only the
source changes.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def requirements(pyproject: Path, extras: list[str]) -> list[str]:
    """The requirements of the project and of the named extras. Raises SystemExit for an extra that there is not."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    known = project["optional-dependencies"]
    unknown = [name for name in extras if name not in known]
    if unknown:
        raise SystemExit(f"error: {pyproject} has no extra {', '.join(unknown)}; it has {', '.join(known)}")
    return [*project["dependencies"], *(line for name in extras for line in known[name])]


if __name__ == "__main__":
    print("\n".join(requirements(Path(sys.argv[1]), sys.argv[2:])))
