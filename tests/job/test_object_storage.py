"""The main job from an S3 server and to it: killed, throttled, refused. Estimators are stubs, the rest is real."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.engine.storage import Store, open_store
from pipelines.shard_format import read_shard
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
from tests.job.test_crash import kill_tree
from tests.video.moving_pictures import scene, write_video

VIDEOS = 3


@dataclass(frozen=True)
class Place:
    """A server with videos in it."""

    endpoint: str
    videos: str

    def new_out(self) -> str:
        return f"s3://{BUCKET}/{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(VIDEOS):
        write_video(folder / f"{number}.mp4", (scene(number, n, 320, 320) for n in range(60)), rate=25)
    with object_server() as endpoint, pytest.MonkeyPatch.context() as patch:
        for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint}.items():
            patch.setenv(name, value)
        store = open_store(f"s3://{BUCKET}/videos")
        for path in folder.iterdir():
            store.put(path.name, path)
        yield Place(endpoint, f"s3://{BUCKET}/videos")


def environment(endpoint: str, **more: str) -> dict[str, str]:
    return {**os.environ, **CREDENTIALS, "OMP_NUM_THREADS": "1", "AWS_ENDPOINT_URL": endpoint, **more}


def command(videos: str, out: str) -> list[str]:
    return [sys.executable, "-m", "tests.cluster.stub_job", videos, "--out", out, "--executor", "inline"]


def run(videos: str, out: str, endpoint: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(videos, out), env=environment(endpoint, **more), capture_output=True, text=True)


def shards(store: Store) -> dict[str, str]:
    return {row["name"]: row["sha256"] for row in json.loads(store.get("dataset.json"))["shards"]}


@pytest.fixture(scope="module")
def undisturbed(place: Place) -> Store:
    """What a run leaves that nothing disturbed."""
    out = place.new_out()
    done = run(place.videos, out, place.endpoint)
    assert done.returncode == 0, done.stderr[-3000:]
    return open_store(out)


def test_videos_from_a_bucket_become_shards_in_a_bucket(undisturbed: Store, tmp_path: Path):
    [name] = shards(undisturbed)
    undisturbed.fetch(f"shards/{name}", tmp_path / name)
    with pytest.raises(Exception, match=r"smplx\.npz"):  # a stub's body is no body
        next(read_shard(tmp_path / name))
    assert undisturbed.size(f"shards/{name.replace('.tar', '.index.json')}")
    assert undisturbed.size("manifest.parquet")


@pytest.mark.slow
def test_a_bucket_and_a_folder_get_the_same_shards(place: Place, undisturbed: Store, tmp_path: Path):
    assert run(place.videos, str(tmp_path), place.endpoint).returncode == 0
    assert shards(open_store(tmp_path)) == shards(undisturbed)


@pytest.mark.slow
def test_nothing_is_left_in_the_scratch_folder(place: Place, tmp_path: Path):
    assert run(place.videos, place.new_out(), place.endpoint, VIVIDPOSE_SCRATCH=str(tmp_path)).returncode == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("fate", [THROTTLE, FAIL, DROP, LOSE_ANSWER])
def test_a_run_survives_a_server_that_fails_every_seventh_request(place: Place, undisturbed: Store, fate: str):
    day = BadDay(lambda number, method, path: fate if number % 7 == 0 else None)
    out = place.new_out()
    with proxy(place.endpoint, day) as bad:
        done = run(place.videos, out, bad)
    assert done.returncode == 0, done.stderr[-3000:]
    assert shards(open_store(out)) == shards(undisturbed)
    assert len(day.dealt) > 5


def kill_once(place: Place, out: str, records: int, after: float) -> None:
    """Run until so many records are there, and `after` seconds more."""
    store = open_store(out)
    process = subprocess.Popen(
        command(place.videos, out),
        env=environment(place.endpoint, STUB_SECONDS="0.1", STUB_BYTES="12000000"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and len(list(store.list_prefix("work/commits"))) < records:
        time.sleep(0.1)
    time.sleep(after)
    kill_tree(process)


def check_records(store: Store) -> int:
    """Every record that is visible names files that are there, whole. Returns how many records there are."""
    there = {entry.key: entry.size for entry in store.list_prefix("work/units")}
    keys = [entry.key for entry in store.list_prefix("work/commits")]
    for key in keys:
        record = json.loads(store.get(key))
        for name, facts in record["files"].items():
            assert there[f"work/{record['folder']}/{name}"] == facts["bytes"]
        if record["stage"] == "pack":
            assert store.size(f"shards/{record['label']}") == record["outcome"]["info"]["bytes"]
    return len(keys)


@pytest.mark.slow
def test_kills_during_uploads_leave_nothing_half_written_and_change_nothing(place: Place, tmp_path: Path):
    expected, out = place.new_out(), place.new_out()
    assert run(place.videos, expected, place.endpoint, STUB_BYTES="12000000").returncode == 0
    moments, store, seen = random.Random(5), open_store(out), []
    for number in range(8):
        kill_once(place, out, 1 + 2 * number, moments.uniform(0, 0.8))
        seen.append(check_records(store))
    done = run(place.videos, out, place.endpoint, STUB_BYTES="12000000")
    assert done.returncode == 0, done.stderr[-3000:]
    assert shards(store) == shards(open_store(expected))
    assert len(set(seen)) > 2, "the kills came at moments that tell nothing"
    records = [json.loads(store.get(entry.key)) for entry in store.list_prefix("work/commits")]
    named = {f"work/{record['folder']}/{name}" for record in records for name in record["files"]}
    assert {entry.key for entry in store.list_prefix("work/units")} == named, "garbage was left"
    # What the last kill interrupted is done only now: the next run, which has nothing to do, removes its marks.
    assert run(place.videos, out, place.endpoint).returncode == 0
    assert list(store.list_prefix("work/attempts")) == []
    assert shards(store) == shards(open_store(expected))


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    return errors[0]


def test_a_missing_bucket_is_one_line(place: Place):
    done = run(place.videos, "s3://no-such-bucket/out", place.endpoint)
    assert done.returncode == 1
    assert "s3://no-such-bucket/out/work: there is no such bucket" in last_line(done)


@pytest.mark.slow
def test_a_missing_bucket_of_sources_is_one_line(place: Place, tmp_path: Path):
    done = run("s3://no-such-bucket/videos", str(tmp_path), place.endpoint)
    assert done.returncode == 1
    assert "s3://no-such-bucket/videos" in last_line(done)


def test_wrong_credentials_are_one_line(place: Place):
    with checked_credentials(place.endpoint):
        done = run(place.videos, place.new_out(), place.endpoint)
    assert done.returncode == 1
    assert "access is refused" in last_line(done)


@pytest.mark.slow
def test_wrong_credentials_for_the_sources_are_one_line(place: Place, tmp_path: Path):
    with checked_credentials(place.endpoint):
        done = run(place.videos, str(tmp_path), place.endpoint)
    assert done.returncode == 1
    assert place.videos in last_line(done)


@pytest.mark.slow
def test_local_videos_go_to_a_bucket_and_are_hashed_once(place: Place, tmp_path: Path):
    write_video(tmp_path / "a.mp4", (scene(9, n, 320, 320) for n in range(60)), rate=25)
    out = place.new_out()
    assert run(str(tmp_path), out, place.endpoint).returncode == 0
    assert len(open_store(out).get("work/hashes.jsonl").splitlines()) == 1
    shutil.rmtree(tmp_path)
