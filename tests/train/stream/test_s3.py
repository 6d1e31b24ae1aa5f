"""The stream from an S3 server, as it is from a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import boto3
import pytest
import torch

from pipelines.engine.storage import StorageError
from tests.engine.object_server import (
    BUCKET,
    CREDENTIALS,
    DROP,
    FAIL,
    LOSE_ANSWER,
    THROTTLE,
    BadDay,
    checked_credentials,
    object_server,
    proxy,
)
from train.stream.dataset import BadDataset, scan_shard
from train.stream.settings import CacheSettings, DataSettings, StreamSettings
from train.stream.storage import LocalStorage, RemoteStorage
from train.stream.stream import Stream


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with object_server() as running:
        yield running


@pytest.fixture(scope="module")
def bucket(dataset: Path, endpoint: str) -> Iterator[str]:
    """The small dataset at s3://bucket/data of a fresh server, named in the environment as a user would."""
    with pytest.MonkeyPatch.context() as patch:
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
    with pytest.raises(StorageError, match="s3://no-such-bucket/data: there is no such bucket"):
        Stream(replace(settings, data=(DataSettings("s3://no-such-bucket/data"),)))


@pytest.mark.slow
def test_a_shard_without_an_index_is_scanned_by_range(settings: StreamSettings, bucket: str, dataset: Path):
    storage = RemoteStorage(bucket)
    for row in json.loads(storage.read("dataset.json"))["shards"]:
        assert scan_shard(storage, row) == scan_shard(LocalStorage(dataset), row)


@pytest.mark.slow
@pytest.mark.parametrize("fate", [THROTTLE, FAIL, DROP, LOSE_ANSWER])
def test_a_server_that_fails_every_fourth_request_gives_the_same_batches(
    settings: StreamSettings, bucket: str, endpoint: str, monkeypatch: pytest.MonkeyPatch, fate: str
):
    here = list(islice(Stream(settings), 6))
    day = BadDay(lambda number, method, path: fate if number % 4 == 0 else None)
    with proxy(endpoint, day) as bad:
        monkeypatch.setenv("AWS_ENDPOINT_URL", bad)
        there = list(islice(Stream(replace(settings, data=(DataSettings(bucket),))), 6))
    assert [batch.keys for batch in there] == [batch.keys for batch in here]
    assert len(day.dealt) > 3


@pytest.mark.slow
def test_refused_access_is_one_sentence(settings: StreamSettings, bucket: str, endpoint: str):
    with checked_credentials(endpoint), pytest.raises(StorageError, match="access is refused"):
        Stream(replace(settings, data=(DataSettings(bucket),)))


@pytest.mark.slow
def test_forked_workers_and_object_storage_are_refused_together(settings: StreamSettings, bucket: str):
    forked = replace(settings, data=(DataSettings(bucket),), workers=1, start_method="fork")
    with pytest.raises(BadDataset, match=r"set data\.start_method to forkserver"):
        next(iter(Stream(forked)))
