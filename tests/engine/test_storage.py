"""A place keeps its promises, be it a folder, an S3 server or memory; and an S3 server may have a bad day."""

from __future__ import annotations

import os
import pickle
import threading
import time
import uuid
from pathlib import Path

import pytest

from pipelines.engine import run_lock
from pipelines.engine.ledger import Ledger, Outcome, Unit
from pipelines.engine.run_lock import Busy, only_run
from pipelines.engine.stage import run_unit
from pipelines.engine.storage import StorageError, Store, open_store
from tests.engine.object_server import DROP, FAIL, LOSE_ANSWER, REFUSE, THROTTLE, BadDay, checked_credentials, proxy


@pytest.fixture(params=["folder", "s3", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty place of each kind."""
    name = uuid.uuid4().hex
    if request.param == "folder":
        return open_store(tmp_path)
    return open_store(f"{request.getfixturevalue('bucket')}/{name}" if request.param == "s3" else f"memory://{name}/x")


def test_what_was_put_is_what_is_got(store: Store):
    store.put("a/b.bin", b"content")
    assert (store.get("a/b.bin"), store.size("a/b.bin")) == (b"content", 7)


def test_the_first_of_many_writers_wins(store: Store):
    won = []
    writers = [
        threading.Thread(target=lambda n=n: won.append(n) if store.put_new("record", b"%d" % n) else None)
        for n in range(8)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [b"%d" % n for n in won] == [store.get("record")]


def test_a_put_replaces(store: Store):
    store.put("x", b"old")
    store.put("x", b"new")
    assert store.get("x") == b"new"


def test_a_large_file_goes_there_and_back(store: Store, tmp_path: Path):
    content = os.urandom(1 << 20) * 20
    (tmp_path / "large").write_bytes(content)
    store.put("large.bin", tmp_path / "large")
    store.fetch("large.bin", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content
    assert store.read_range("large.bin", 10_000_000, 100) == content[10_000_000:10_000_100]


def test_ranges_are_clipped_at_the_end(store: Store):
    store.put("x", b"abcdef")
    assert store.read_ranges("x", [(0, 2), (5, 3), (9, 4), (1, 0)]) == [b"ab", b"f", b"", b""]
    assert store.read_ranges("x", []) == []
    with pytest.raises(FileNotFoundError):
        store.read_ranges("absent", [(0, 1)])


def test_what_is_written_to_a_path_is_there_when_the_block_ends(store: Store):
    with store.writing("folder/file.txt") as path:
        path.write_text("text")
        assert store.size("folder/file.txt") is None
    assert store.get("folder/file.txt") == b"text"


def test_a_block_that_fails_leaves_nothing(store: Store):
    with pytest.raises(TypeError), store.writing("file.txt") as path:
        path.write_text("half") + "not a number"  # type: ignore[operator]
    assert list(store.list_prefix("")) == []


def test_a_listing_has_every_key_below_a_folder_and_no_other(store: Store):
    for key in ("a/1", "a/b/2", "ab/3", "4"):
        store.put(key, key.encode())
    assert {(entry.key, entry.size) for entry in store.list_prefix("a")} == {("a/1", 3), ("a/b/2", 5)}
    assert len(list(store.list_prefix(""))) == 4


def test_removing_a_folder_leaves_the_others(store: Store):
    for key in ("a/1", "a/b/2", "ab/3"):
        store.put(key, b"")
    store.delete_prefix("a")
    assert [entry.key for entry in store.list_prefix("")] == ["ab/3"]


def test_what_is_absent_is_told_as_absent(store: Store, tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        store.get("absent")
    with pytest.raises(FileNotFoundError):
        store.fetch("absent", tmp_path / "copy")
    assert store.size("absent") is None
    store.delete("absent")


def test_a_pickled_place_is_the_same_place(store: Store):
    store.put("x", b"content")
    assert pickle.loads(pickle.dumps(store)).get("x") == b"content"  # noqa: S301 - our own object


def test_a_url_of_another_kind_is_refused():
    with pytest.raises(StorageError, match=r"ftp://.*use a folder or one of s3://"):
        open_store("ftp://host/x")


UNIT = Unit("stage", "1", "ab" * 32, "a clip", {"threshold": 1}, {"clip": "x"})


def writes(text: str):
    def work(folder: Path) -> Outcome:
        (folder / "result.txt").write_text(text)
        return Outcome(frames=3)

    return work


def test_a_unit_is_committed_once_and_its_files_come_back(store: Store):
    first = run_unit(Ledger(store), UNIT, "run-1", writes("first"))
    ledger = Ledger(store)
    assert run_unit(ledger, UNIT, "run-2", writes("second")) == first
    assert (ledger.folder_of(first) / "result.txt").read_text() == "first"


def test_of_two_workers_on_one_unit_the_slower_takes_its_files_back(store: Store):
    slow, fast = Ledger(store), Ledger(store)
    folder = slow.open_folder(slow.begin(UNIT, "run-1"))
    (folder / "result.txt").write_text("slow")
    record = run_unit(fast, UNIT, "run-2", writes("fast"))
    assert slow.commit(UNIT, Outcome(), folder, seconds=0, attempt=1, run="run-1") == record
    assert [entry.key for entry in store.list_prefix("units")] == [f"{record.folder}/result.txt"]


@pytest.mark.parametrize("fate", [THROTTLE, FAIL, DROP, LOSE_ANSWER])
def test_a_unit_is_committed_through_a_server_that_fails_every_third_request(
    endpoint: str, bucket: str, monkeypatch: pytest.MonkeyPatch, fate: str
):
    day = BadDay(lambda number, method, path: fate if number % 3 == 0 else None)
    with proxy(endpoint, day) as bad:
        monkeypatch.setenv("AWS_ENDPOINT_URL", bad)
        ledger = Ledger(f"{bucket}/{uuid.uuid4().hex}")
        record = run_unit(ledger, UNIT, "run-1", writes("text"))
        assert (ledger.folder_of(record) / "result.txt").read_text() == "text"
        assert [entry.key for entry in ledger.store.list_prefix("attempts")] == []
    assert len(day.dealt) >= 2


def test_a_record_whose_answer_got_lost_keeps_its_files(endpoint: str, bucket: str, monkeypatch: pytest.MonkeyPatch):
    """The repeated put finds a record: its own."""
    day = BadDay(lambda number, method, path: LOSE_ANSWER if method == "PUT" and "commits" in path and lost() else None)
    answers = [True]

    def lost() -> bool:
        return bool(answers) and answers.pop()

    with proxy(endpoint, day) as bad:
        monkeypatch.setenv("AWS_ENDPOINT_URL", bad)
        ledger = Ledger(f"{bucket}/{uuid.uuid4().hex}")
        record = run_unit(ledger, UNIT, "run-1", writes("text"))
    assert day.dealt == [LOSE_ANSWER]
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    fresh = Ledger(ledger.store.url)
    assert (fresh.folder_of(record) / "result.txt").read_text() == "text"


def test_a_part_of_an_upload_that_fails_for_good_leaves_nothing_visible(
    endpoint: str, bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    (tmp_path / "large").write_bytes(bytes(20 << 20))
    day = BadDay(lambda number, method, path: REFUSE if "partNumber=2" in path else None)
    with proxy(endpoint, day) as bad:
        monkeypatch.setenv("AWS_ENDPOINT_URL", bad)
        store = open_store(f"{bucket}/{uuid.uuid4().hex}")
        with pytest.raises(StorageError):
            store.put("large.bin", tmp_path / "large")
        assert store.size("large.bin") is None


def test_a_bucket_that_does_not_exist_is_told_so(bucket: str):
    with pytest.raises(StorageError, match="there is no such bucket"):
        open_store("s3://no-such-bucket/x").put_new("a", b"")


def test_wrong_credentials_are_told_without_them(endpoint: str, bucket: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-and-secret")
    store = open_store(f"{bucket}/x")
    with checked_credentials(endpoint), pytest.raises(StorageError, match="access is refused") as caught:
        store.put_new("a", b"")
    assert "wrong-and-secret" not in str(caught.value)


@pytest.mark.parametrize("kind", ["s3", "memory"])
def test_a_lease_is_held_by_one_run(kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run_lock, "RENEW_SECONDS", 0.2)
    base = request.getfixturevalue("bucket") if kind == "s3" else "memory://lease"
    store = open_store(f"{base}/{uuid.uuid4().hex}")
    with only_run(store), pytest.raises(Busy, match="another run"), only_run(store):
        pass
    with only_run(store):
        pass
    assert store.size("lock") is None


def test_a_lease_whose_holder_is_gone_is_taken_over(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run_lock, "LEASE_SECONDS", 1.0)
    store = open_store(f"memory://{uuid.uuid4().hex}/work")
    store.put("lock", b'{"token": "x", "host": "another-host", "pid": 1, "beat": "y"}')
    with only_run(store):
        assert b"another-host" not in store.get("lock")


def test_a_holder_learns_that_its_lease_was_taken(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run_lock, "RENEW_SECONDS", 0.05)
    store = open_store(f"memory://{uuid.uuid4().hex}/work")
    with only_run(store) as held:
        assert held()
        store.put("lock", b'{"token": "x", "host": "another-host", "pid": 1, "beat": "y"}')
        end = time.monotonic() + 60
        while held():
            assert time.monotonic() < end, "the loss of the lease was not noticed"
            time.sleep(0.01)
    assert b"another-host" in store.get("lock")
