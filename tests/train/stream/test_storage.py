"""Ranges of members from a folder, from object storage, and from copies that several processes share."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import time
import uuid
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from pipelines.engine.storage import StorageError, open_store
from pipelines.shard_format import BadSample
from train.stream.settings import CacheSettings, DataSettings, StreamSettings
from train.stream.storage import CachedStorage, LocalStorage, RemoteStorage, open_storage
from train.stream.stream import Stream


@pytest.fixture
def remote(dataset: Path) -> str:
    """The small dataset behind a memory:// URL."""
    url = f"memory://{uuid.uuid4().hex}/data"
    store = open_store(url)
    for path in dataset.rglob("*"):
        if path.is_file():
            store.put(path.relative_to(dataset).as_posix(), path)
    return url


def keys(settings: StreamSettings, count: int = 12) -> list[str]:
    return [batch.keys[0] for batch in islice(Stream(settings), count)]


def test_a_remote_dataset_gives_the_same_batches(settings: StreamSettings, remote: str, tmp_path: Path):
    here = keys(settings)
    there = replace(settings, data=(DataSettings(remote),))
    assert keys(there) == here
    cached = replace(there, cache=CacheSettings(str(tmp_path / "cache")))
    assert keys(cached) == here
    assert len(list(tmp_path.glob("cache/*/*.tar"))) == 3


def test_without_a_cache_only_members_are_requested(
    settings: StreamSettings, remote: str, monkeypatch: pytest.MonkeyPatch
):
    asked: list[int] = []
    plain = RemoteStorage.ranges
    monkeypatch.setattr(
        RemoteStorage, "ranges", lambda self, name, spans: asked.extend(n for _, n in spans) or plain(self, name, spans)
    )
    keys(replace(settings, data=(DataSettings(remote),)), 1)
    assert len(asked) == 4


def test_a_missing_remote_dataset_is_told(settings: StreamSettings):
    with pytest.raises(RuntimeError, match=r"no dataset\.json"):
        Stream(replace(settings, data=(DataSettings("memory://nowhere/at/all"),)))


def test_the_end_of_a_file_inside_a_range_is_noticed(tmp_path: Path):
    (tmp_path / "x").write_bytes(b"abcdef")
    assert LocalStorage(tmp_path).ranges("x", [(1, 2), (4, 2)]) == [b"bc", b"ef"]
    with pytest.raises(BadSample, match="ends at byte 6, before byte 9"):
        LocalStorage(tmp_path).ranges("x", [(4, 5)])


def test_few_files_are_open_at_a_time(tmp_path: Path):
    storage = LocalStorage(tmp_path, open_files=3)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(10):
        (tmp_path / str(number)).write_bytes(bytes([number]))
        assert storage.ranges(str(number), [(0, 1)]) == [bytes([number])]
    assert len(os.listdir("/proc/self/fd")) - before == 3
    storage.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_urls_of_folders_are_folders(tmp_path: Path):
    assert open_storage(f"file://{tmp_path}").place == str(tmp_path)


def test_a_place_of_another_kind_is_one_sentence():
    with pytest.raises(StorageError, match=r"ftp://host/x: ftp:// is no place for a dataset; use a folder"):
        open_storage("ftp://host/x")


def test_a_remote_shard_that_was_cut_off_is_a_bad_sample():
    url, _ = shards(1)
    assert RemoteStorage(url).ranges("shards/0.tar", [(998, 2), (5, 0)]) == [b"\0\0", b""]
    with pytest.raises(BadSample, match="ends at byte 1000, before byte 1001"):
        RemoteStorage(url).ranges("shards/0.tar", [(0, 4), (998, 3)])
    with pytest.raises(BadSample, match="before byte 2010"):
        RemoteStorage(url).ranges("shards/0.tar", [(0, 4), (2000, 10)])


def shards(count: int, size: int = 1000) -> tuple[str, dict[str, str]]:
    url = f"memory://{uuid.uuid4().hex}/data"
    store = open_store(url)
    hashes = {}
    for number in range(count):
        data = bytes([number]) * size
        store.put(f"shards/{number}.tar", data)
        hashes[f"shards/{number}.tar"] = hashlib.sha256(data).hexdigest()
    return url, hashes


def test_the_least_recently_used_copies_go_first(tmp_path: Path):
    url, hashes = shards(4)
    storage = CachedStorage(RemoteStorage(url), tmp_path, 3000, hashes)
    for number in (0, 1, 2):
        storage.ranges(f"shards/{number}.tar", [(0, 1)])
        time.sleep(0.02)
    storage.ranges("shards/0.tar", [(0, 1)])
    time.sleep(0.02)
    storage.ranges("shards/3.tar", [(0, 1)])
    kept = {path.read_bytes()[0] for path in tmp_path.glob("*/*.tar")}
    assert kept == {0, 2, 3}
    assert storage.ranges("shards/1.tar", [(5, 2)]) == [b"\1\1"]


def test_a_copy_that_is_not_what_was_listed_is_not_kept(tmp_path: Path):
    url, hashes = shards(1)
    storage = CachedStorage(RemoteStorage(url), tmp_path, 3000, {"shards/0.tar": "0" * 64})
    with pytest.raises(BadSample, match=rf"has sha256 {hashes['shards/0.tar']}, dataset.json says 000"):
        storage.ranges("shards/0.tar", [(0, 1)])
    assert not list(tmp_path.glob("*/*.tar*"))


def _read_all(source: str, cache: Path, hashes: dict[str, str], seed: int, results: multiprocessing.Queue) -> None:
    import random

    storage = CachedStorage(RemoteStorage(source), cache, 3000, hashes)
    numbers = random.Random(seed).choices(range(8), k=200)
    results.put(all(storage.ranges(f"shards/{n}.tar", [(10, 3)]) == [bytes([n]) * 3] for n in numbers))


def test_processes_share_copies_while_some_are_removed(tmp_path: Path):
    source, hashes = file_shards(tmp_path)
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may stand still
    results: multiprocessing.Queue = context.Queue()
    readers = [
        context.Process(target=_read_all, args=(source, tmp_path / "cache", hashes, n, results), daemon=True)
        for n in range(4)
    ]
    for reader in readers:
        reader.start()
    assert [results.get(timeout=200) for _ in readers] == [True] * 4
    for reader in readers:
        reader.join()
    assert sum(path.stat().st_size for path in (tmp_path / "cache").glob("*/*.tar")) <= 3000


class HangingRemote(RemoteStorage):
    """Half of a shard arrives, then nothing."""

    def download(self, name: str, target: Path) -> None:
        target.write_bytes((Path(self.place) / name).read_bytes()[:500])
        time.sleep(60)


def _hang(source: str, cache: Path, hashes: dict[str, str]) -> None:
    CachedStorage(HangingRemote(source), cache, 3000, hashes).ranges("shards/0.tar", [(0, 1)])


def test_a_killed_copy_leaves_nothing_that_is_taken_for_whole(tmp_path: Path):
    source, hashes = file_shards(tmp_path)
    child = multiprocessing.get_context("spawn").Process(target=_hang, args=(source, tmp_path / "cache", hashes))
    child.start()
    while not list((tmp_path / "cache").glob("*/.*.tmp.*")):
        assert child.is_alive()
        time.sleep(0.01)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    storage = CachedStorage(RemoteStorage(source), tmp_path / "cache", 1 << 30, hashes)
    assert storage.ranges("shards/0.tar", [(5, 1)]) == [b"\0"]
    assert not list((tmp_path / "cache").glob("*/.*.tmp.*"))


def file_shards(folder: Path) -> tuple[str, dict[str, str]]:
    source = folder / "source"
    (source / "shards").mkdir(parents=True)
    hashes = {}
    for number in range(8):
        data = bytes([number]) * 1000
        (source / "shards" / f"{number}.tar").write_bytes(data)
        hashes[f"shards/{number}.tar"] = hashlib.sha256(data).hexdigest()
    return str(source), hashes
