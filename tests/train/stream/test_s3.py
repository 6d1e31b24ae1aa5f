"""The stream from an S3 server, as it is from a folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import boto3
import pytest
import torch

from tests.engine.object_server import BUCKET, CREDENTIALS, object_server
from train.stream.dataset import BadDataset
from train.stream.settings import CacheSettings, DataSettings, StreamSettings
from train.stream.storage import Unreachable
from train.stream.stream import Stream


@pytest.fixture(scope="module")
def bucket(dataset: Path) -> Iterator[str]:
    """The small dataset at s3://bucket/data of a fresh server, named in the environment as a user would."""
    with object_server() as endpoint, pytest.MonkeyPatch.context() as patch:
        for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint}.items():
            patch.setenv(name, value)
        client = boto3.client("s3", endpoint_url=endpoint)
        for path in dataset.rglob("*"):
            if path.is_file():
                client.upload_file(str(path), BUCKET, f"data/{path.relative_to(dataset).as_posix()}")
        yield f"s3://{BUCKET}/data"


@pytest.mark.slow
def test_s3_gives_the_same_batches_in_this_process_in_workers_and_from_a_cache(
    settings: StreamSettings, bucket: str, tmp_path: Path
):
    here = list(islice(Stream(settings), 6))
    there = replace(settings, data=(DataSettings(bucket),))
    ways = {
        "in process": there,
        "workers": replace(there, workers=2),
        "cache": replace(there, workers=2, cache=CacheSettings(str(tmp_path / "cache"))),
    }
    for name, way in ways.items():
        for ours, theirs in zip(here, islice(Stream(way), 6), strict=True):
            assert ours.keys == theirs.keys, name
            assert torch.equal(ours.reference, theirs.reference), name


@pytest.mark.slow
def test_what_is_not_there_is_one_sentence(settings: StreamSettings, bucket: str, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(BadDataset, match=r"s3://bucket/nothing has no dataset\.json"):
        Stream(replace(settings, data=(DataSettings(f"s3://{BUCKET}/nothing"),)))
    with pytest.raises((BadDataset, Unreachable), match="no-such-bucket"):
        Stream(replace(settings, data=(DataSettings("s3://no-such-bucket/data"),)))
