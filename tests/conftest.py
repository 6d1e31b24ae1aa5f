"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture(scope="session")
def shared_root() -> Path:
    """The folder of local-only media and reference results beside the repository; skips where it is absent."""
    if not (SHARED / "media").is_dir():
        pytest.skip("needs the local-only folder ../shared")
    return SHARED


@pytest.fixture(scope="session")
def shared_media(shared_root: Path) -> Path:
    return shared_root / "media"
