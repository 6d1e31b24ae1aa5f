"""An S3 server on loopback for the tests of storage."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engine.object_server import BUCKET, CREDENTIALS, object_server


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    with object_server() as running:
        yield running


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a bucket; the environment holds what is needed to reach it."""
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint}.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}"
