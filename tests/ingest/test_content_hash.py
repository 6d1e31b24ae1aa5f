from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from pipelines.ingest import content_hash as module
from pipelines.ingest.content_hash import HashCache, content_hash

DIGEST = hashlib.sha256(b"film").hexdigest()


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"film")
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every file that is really read."""
    read: list[str] = []
    real = content_hash

    def count(path: Path | str) -> str:
        read.append(str(path))
        return real(path)

    monkeypatch.setattr(module, "content_hash", count)
    return read


def test_the_hash_is_sha256_of_the_bytes(film: Path) -> None:
    assert content_hash(film) == DIGEST


def test_a_second_run_reads_nothing(film: Path, tmp_path: Path, reads: list[str]) -> None:
    for _ in range(3):
        with HashCache(tmp_path / "cache/hashes.jsonl") as cache:
            assert cache(film) == DIGEST
    assert len(reads) == 1


def test_a_changed_file_is_read_again(film: Path, tmp_path: Path, reads: list[str]) -> None:
    with HashCache(tmp_path / "hashes.jsonl") as cache:
        cache(film)
        film.write_bytes(b"cut!")
        os.utime(film, ns=(1, 1))
        assert cache(film) == hashlib.sha256(b"cut!").hexdigest()
    with HashCache(tmp_path / "hashes.jsonl") as cache:
        assert cache(film) == hashlib.sha256(b"cut!").hexdigest()
    assert len(reads) == 2


def test_broken_lines_are_ignored_and_counted(film: Path, tmp_path: Path, reads: list[str]) -> None:
    path = tmp_path / "hashes.jsonl"
    with HashCache(path) as cache:
        cache(film)
    good = path.read_bytes()
    wrong = json.dumps({"path": str(film), "size": "4", "mtime_ns": 0, "sha256": 5}).encode()
    path.write_bytes(b"\xff\xfe garbage\n[1, 2]\n" + wrong + b"\n" + b"[" * 100_000 + b"\n" + good + good[:20])
    with HashCache(path) as cache:
        assert cache.ignored_lines == 5
        assert cache(film) == DIGEST
    assert len(reads) == 1


def test_a_torn_last_line_spoils_no_later_one(film: Path, tmp_path: Path, reads: list[str]) -> None:
    path = tmp_path / "hashes.jsonl"
    path.write_bytes(b'{"path": "/tmp/x", "si')
    for _ in range(2):
        with HashCache(path) as cache:
            assert cache(film) == DIGEST
    assert len(reads) == 1


def test_trust_can_be_withdrawn(film: Path, tmp_path: Path, reads: list[str]) -> None:
    for trust in (True, False):
        with HashCache(tmp_path / "hashes.jsonl", trust=trust) as cache:
            cache(film)
    assert len(reads) == 2


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with HashCache(tmp_path / "hashes.jsonl") as cache, pytest.raises(FileNotFoundError):
        cache(tmp_path / "gone.mp4")


def test_any_name_survives_the_cache(tmp_path: Path, reads: list[str]) -> None:
    path = tmp_path / "new\nline été \udce9.mp4"
    path.write_bytes(b"film")
    for _ in range(2):
        with HashCache(tmp_path / "hashes.jsonl") as cache:
            assert cache(path) == DIGEST
    assert len(reads) == 1
