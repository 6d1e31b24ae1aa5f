"""A run that is kept in an S3 server: any machine can go on with it, whatever was killed or failed on the way."""

from __future__ import annotations

import json
import shutil
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.engine.storage import Store, open_store
from tests.engine.object_server import (
    BUCKET,
    CREDENTIALS,
    DROP,
    FAIL,
    LOSE_ANSWER,
    REFUSE,
    THROTTLE,
    BadDay,
    checked_credentials,
    object_server,
    proxy,
)
from tests.train.runs import PATIENCE, Run, Small, lines, losses
from train.export import main as export
from train.run_store import whole_steps


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with object_server() as running, pytest.MonkeyPatch.context() as patch:
        for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": running}.items():
            patch.setenv(name, value)
        yield running


@pytest.fixture
def store(endpoint: str) -> Store:
    """An empty place for a run."""
    return open_store(f"s3://{BUCKET}/runs/{uuid.uuid4().hex[:8]}")


@pytest.fixture(scope="module")
def data(endpoint: str, small_parts: tuple[Path, Path]) -> str:
    """The shards in the bucket."""
    store = open_store(f"s3://{BUCKET}/data")
    for path in small_parts[0].rglob("*"):
        if path.is_file():
            store.put(path.relative_to(small_parts[0]).as_posix(), path)
    return store.url


def start(small: Small, name: str, store: Store, endpoint: str, *more: str, ranks: int = 1) -> Run:
    environment = {**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint}
    return small.start(name, "--set", f"store={store.url}", *more, ranks=ranks, environment=environment)


def weights(manifest: bytes) -> list[str]:
    """The sha256 of the files of a checkpoint: weights, moments and average of one rank, bit for bit."""
    return [entry["sha256"] for entry in json.loads(manifest)["files"].values()]


def local(run: Run, step: int) -> list[str]:
    return weights((run.out / "checkpoints" / f"step-{step:08d}" / "manifest.json").read_bytes())


def kept(store: Store, step: int) -> list[str]:
    return weights(store.get(f"checkpoints/step-{step:08d}/manifest.json"))


def error_of(run: Run) -> str:
    assert "Traceback" not in run.told, run.told
    [line] = [line for line in run.told.splitlines() if line.startswith("error: ")]
    return line


def test_another_machine_goes_on_with_what_is_in_the_store(small: Small, store: Store, endpoint: str, finished: Run):
    first = start(small, "here", store, endpoint, "--set", "steps=4")
    assert first.wait() == 0, first.told
    assert whole_steps(store) == [4, 2]
    shutil.rmtree(first.out)
    second = start(small, "there", store, endpoint)
    assert second.wait() == 0, second.told
    assert "going on after step 4" in second.told
    assert losses(second.out) == losses(finished.out)
    assert kept(store, 6) == local(finished, 6)
    assert store.get("log.jsonl") == (second.out / "log.jsonl").read_bytes()
    assert store.size("lock") is None


@pytest.mark.slow
def test_a_model_is_exported_from_the_store_into_a_bucket(
    small: Small, store: Store, endpoint: str, finished: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = start(small, "run", store, endpoint)
    assert run.wait() == 0, run.told
    models = open_store(f"{store.url}-models/mine")
    assert export([store.url, models.url]) == 0
    assert f"{models.url}: from {store.url}/checkpoints/step-00000006" in capsys.readouterr().out
    assert export([str(finished.out), str(tmp_path / "here")]) == 0
    here = {path.relative_to(tmp_path / "here").as_posix() for path in (tmp_path / "here").rglob("*") if path.is_file()}
    assert {entry.key for entry in models.list_prefix("")} == here
    weights = "unet/diffusion_pytorch_model.safetensors"
    assert models.get(weights) == (tmp_path / "here" / weights).read_bytes()
    assert export([f"{store.url}/checkpoints/step-00000004", models.url]) == 1
    assert "exists already" in capsys.readouterr().err
    assert export([f"{store.url}/checkpoints/step-00000004", models.url, "--overwrite"]) == 0
    assert models.get(weights) != (tmp_path / "here" / weights).read_bytes()


@pytest.mark.parametrize(
    ("place", "told"),
    [
        (f"s3://{BUCKET}/nothing", "is neither a checkpoint nor the store of a run with one"),
        ("s3://no-such-bucket/run", "there is no such bucket"),
    ],
)
def test_a_source_without_a_checkpoint_is_one_line(
    endpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str, told: str
):
    assert export([place, str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert told in error


def hold(day_of: Callable[[int, str, str], bool]) -> tuple[BadDay, threading.Event, threading.Event]:
    """A day on which the first request that `day_of` names is begun and never ends, until it is let go."""
    reached, go_on = threading.Event(), threading.Event()

    def rule(number: int, method: str, path: str) -> str | None:
        if day_of(number, method, path) and not reached.is_set():
            reached.set()
            # The lock of the day is held: no other request passes, as if the machine were cut off.
            go_on.wait(PATIENCE)
            return DROP
        return None

    return BadDay(rule), reached, go_on


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["fragments", "manifest.json"])
def test_killed_during_an_upload_the_checkpoint_before_counts_and_the_run_ends_with_the_same_weights(
    small: Small, store: Store, endpoint: str, data: str, finished: Run, moment: str
):
    def during(number: int, method: str, path: str) -> bool:
        wanted = "manifest.json" if moment == "manifest.json" else ".safetensors"
        return method == "PUT" and "step-00000004" in path and wanted in path

    from_bucket = ("--set", "data.data=" + json.dumps([{"data": data}]))
    day, reached, go_on = hold(during)
    with proxy(endpoint, day) as slow:
        killed = start(small, "killed", store, slow, *from_bucket)
        assert reached.wait(PATIENCE), killed.told
        killed.send(signal.SIGKILL)
        killed.wait()
        go_on.set()
    assert whole_steps(store) == [2]
    shutil.rmtree(killed.out)
    again = start(small, "again", store, endpoint, *from_bucket)
    assert again.wait() == 0, again.told
    assert "going on after step 2" in again.told
    assert losses(again.out) == losses(finished.out)
    assert [kept(store, step) for step in (4, 6)] == [local(finished, step) for step in (4, 6)]


@pytest.mark.slow
def test_killed_during_an_upload_the_same_machine_puts_the_rest(
    small: Small, store: Store, endpoint: str, finished: Run
):
    day, reached, go_on = hold(lambda number, method, path: method == "PUT" and "step-00000004" in path)
    with proxy(endpoint, day) as slow:
        killed = start(small, "run", store, slow)
        assert reached.wait(PATIENCE), killed.told
        killed.send(signal.SIGKILL)
        killed.wait()
        go_on.set()
    again = start(small, "run", store, endpoint)
    assert again.wait() == 0, again.told
    assert "going on after step 4" in again.told
    assert whole_steps(store) == [6, 4]
    assert kept(store, 4) == local(finished, 4)


@pytest.mark.slow
@pytest.mark.parametrize("fate", [THROTTLE, FAIL, DROP, LOSE_ANSWER])
def test_a_run_survives_a_server_that_fails_every_fifth_request(
    small: Small, store: Store, endpoint: str, data: str, finished: Run, fate: str
):
    day = BadDay(lambda number, method, path: fate if number % 5 == 0 else None)
    with proxy(endpoint, day) as bad:
        run = start(small, "run", store, bad, "--set", "data.data=" + json.dumps([{"data": data}]))
        assert run.wait() == 0, run.told
    assert kept(store, 6) == local(finished, 6)
    assert len(day.dealt) > 5


@pytest.mark.slow
def test_a_checkpoint_that_cannot_be_put_does_not_end_the_run_and_is_told(small: Small, store: Store, endpoint: str):
    day = BadDay(lambda number, method, path: REFUSE if method == "PUT" and "step-00000004" in path else None)
    with proxy(endpoint, day) as bad:
        run = start(small, "run", store, bad)
        assert run.wait() == 0, run.told
    assert whole_steps(store) == [6, 2]
    assert "could not be put into s3://" in run.told
    assert [line["step"] for line in lines(run.out) if line.get("event") == "not_kept"] == [4]


@pytest.mark.slow
def test_when_the_last_checkpoint_cannot_be_put_the_next_start_puts_it(small: Small, store: Store, endpoint: str):
    day = BadDay(lambda number, method, path: REFUSE if method == "PUT" and "step-00000006" in path else None)
    with proxy(endpoint, day) as bad:
        run = start(small, "run", store, bad)
        assert run.wait() == 3, run.told
    assert "step-00000006 is not in s3://" in error_of(run)
    again = start(small, "run", store, endpoint)
    assert again.wait() == 0, again.told
    assert whole_steps(store) == [6, 4]


@pytest.mark.slow
def test_two_ranks_put_and_fetch_together(small: Small, store: Store, endpoint: str):
    alone = small.start("alone", ranks=2)
    assert alone.wait() == 0, alone.told
    first = start(small, "here", store, endpoint, "--set", "steps=4", ranks=2)
    assert first.wait() == 0, first.told
    second = start(small, "there", store, endpoint, ranks=2)
    assert second.wait() == 0, second.told
    assert losses(second.out) == losses(alone.out)
    assert kept(store, 6) == local(alone, 6)


@pytest.mark.slow
def test_a_damaged_checkpoint_in_the_store_is_passed_over(small: Small, store: Store, endpoint: str, finished: Run):
    first = start(small, "here", store, endpoint, "--set", "steps=4")
    assert first.wait() == 0, first.told
    [name] = [e.key for e in store.list_prefix("checkpoints/step-00000004") if e.key.endswith(".safetensors")]
    store.put(name, b"x" * (store.size(name) or 0))
    second = start(small, "there", store, endpoint)
    assert second.wait() == 0, second.told
    assert "passed over" in second.told
    assert "going on after step 2" in second.told
    assert [kept(store, step) for step in (4, 6)] == [local(finished, step) for step in (4, 6)]


@pytest.mark.slow
def test_the_policy_counts_in_the_store_too(small: Small, store: Store, endpoint: str):
    run = start(small, "run", store, endpoint, "--set", "checkpoint.steps=1", "--set", "checkpoint.keep=2")
    assert run.wait() == 0, run.told
    assert whole_steps(store) == [6, 5]
    folders = {entry.key.split("/")[1] for entry in store.list_prefix("checkpoints")}
    assert folders == {"step-00000006", "step-00000005"}


@pytest.mark.slow
def test_frozen_weights_go_along(small: Small, store: Store, endpoint: str):
    part = ("--set", 'model.groups=["pose"]')
    first = start(small, "here", store, endpoint, *part, "--set", "steps=2")
    assert first.wait() == 0, first.told
    second = start(small, "there", store, endpoint, *part)
    assert second.wait() == 0, second.told
    whole = small.start("whole", *part)
    assert whole.wait() == 0, whole.told
    assert kept(store, 6) == local(whole, 6)


@pytest.mark.slow
def test_a_store_has_one_run_at_a_time(small: Small, store: Store, endpoint: str):
    running = start(small, "one", store, endpoint, "--set", "steps=100000")
    running.wait_for_step(1)
    second = start(small, "two", store, endpoint)
    assert second.wait() == 1
    assert "is at work on s3://" in error_of(second)
    running.send(signal.SIGTERM)
    assert running.wait() == 0, running.told


@pytest.mark.slow
def test_a_folder_and_a_store_of_different_runs_are_not_mixed(small: Small, store: Store, endpoint: str):
    for name in ("one", "two"):
        own = store if name == "one" else open_store(f"{store.url}-other")
        run = start(small, name, own, endpoint, "--set", "steps=1")
        assert run.wait() == 0, run.told
    mixed = start(small, "two", store, endpoint)
    assert mixed.wait() == 1
    assert "hold different runs" in error_of(mixed)
    assert whole_steps(store) == [1]


def test_a_place_that_holds_other_things_is_refused(small: Small, store: Store, endpoint: str):
    store.put("data/mine.tar", b"mine")
    run = start(small, "run", store, endpoint)
    assert run.wait() == 1
    assert "is not empty and holds no run" in error_of(run)
    assert [entry.key for entry in store.list_prefix("")] == ["data/mine.tar"]


def test_a_missing_bucket_is_one_line(small: Small, endpoint: str):
    run = start(small, "run", open_store("s3://no-such-bucket/run"), endpoint)
    assert run.wait() == 1
    assert "s3://no-such-bucket/run: there is no such bucket" in error_of(run)


def test_wrong_credentials_are_one_line(small: Small, store: Store, endpoint: str):
    with checked_credentials(endpoint):
        run = start(small, "run", store, endpoint)
        assert run.wait() == 1
    assert "access is refused" in error_of(run)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("out=s3://bucket/run", "object storage goes into `store`"),
        ("store=/a/folder", "a folder goes into `out`"),
        ("store=ftp://host/run", "wants a URL such as s3://bucket/run"),
    ],
)
def test_places_of_the_wrong_kind_are_refused(small: Small, setting: str, told: str):
    run = small.start("run", "--set", setting)
    assert run.wait() == 1
    assert told in error_of(run)
