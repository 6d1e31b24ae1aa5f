"""The search that proves a withdrawal, the rewriting of shards, and face vectors."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.audit.forget import Request, forget
from pipelines.audit.forget_embeddings import drop_embeddings, find_embeddings
from pipelines.audit.forget_search import Finder, Traces, search
from pipelines.audit.forget_shards import rewrite
from pipelines.engine.ledger import Ledger
from pipelines.shard_format import decode_face, read_tar
from tests.audit.withdrawal_set import add_audit, make_dataset, source


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("withdrawal"))


@pytest.fixture
def out(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "out"))


def withdraw(out: Path, name: str):
    return forget(out, Request("ticket 7", source=source(out, name)))


def test_what_is_left_is_found_and_told(out: Path, capsys: pytest.CaptureFixture):
    name = source(out, "ben.mp4")
    with tarfile.open(out / "shards/vividpose-000001.tar") as tar:
        member = next(entry for entry in tar if entry.name.startswith(name[:16]) and entry.name.endswith("face.npz"))
        face = decode_face(tar.extractfile(member).read())  # type: ignore[union-attr]
    traces = Traces(frozenset({name[:16]}), frozenset(), frozenset({face.embeddings[0].tobytes()[:16]}))
    (out / "notes").mkdir()
    np.savez_compressed(out / "notes" / "vectors.npz", face.embeddings)
    pq.write_table(pa.table({"mean": [face.embeddings[0]]}), out / "notes" / "means.parquet", compression="zstd")
    found = {place for place, _ in search(out / "notes", traces).found}
    assert found == {"vectors.npz", "means.parquet"}


def test_a_file_of_ones_own_is_named_but_not_removed(out: Path):
    (out / "my notes.txt").write_text("ask about https://example.org/watch/10, please")
    result = withdraw(out, "ben.mp4")
    assert result.proof is not None
    assert result.proof.found == [("my notes.txt", "name, path or URL")]
    (out / "my notes.txt").unlink()
    again = forget(out, Request(""))
    assert again.proof is not None
    assert again.proof.clean


def test_shards_on_another_disk_are_searched_too(out: Path, tmp_path: Path):
    shutil.move(out / "shards", tmp_path / "disk")
    (out / "shards").symlink_to(tmp_path / "disk")
    name = source(out, "ben.mp4")
    shutil.copy(out / "shards/vividpose-000001.tar", tmp_path / "disk" / "old.bak")
    result = forget(out, Request("ticket", source=name))
    assert result.proof is not None
    assert {place for place, _ in result.proof.found} == {"shards/old.bak"}


def test_a_name_is_not_found_in_a_longer_name():
    finder = Finder(Traces(texts=frozenset({"/v/1.mp4"})))
    assert finder.find(b'"/v/1.mp4"')
    assert finder.find(b"same content as /v/1.mp4.")
    assert not finder.find(b"/v/1.mp4.bak")
    assert not finder.find(b"/v/1.mp45")


def test_rewriting_without_change_gives_the_same_bytes(out: Path):
    path = out / "shards/vividpose-000000.tar"
    before = path.read_bytes()
    rewrite(path)
    assert path.read_bytes() == before


def test_embeddings_are_listed_and_dropped_everywhere(out: Path):
    add_audit(out)
    assert sum(place.clips for place in find_embeddings(out)) == 5 + 5 + 5
    before = {key: members for path in sorted((out / "shards").glob("*.tar")) for key, members in read_tar(path)}
    drop_embeddings(out)
    assert list(find_embeddings(out)) == []
    after = {key: members for path in sorted((out / "shards").glob("*.tar")) for key, members in read_tar(path)}
    for key, members in after.items():
        assert {n: m for n, m in members.items() if n != "face.npz"} == {
            n: m for n, m in before[key].items() if n != "face.npz"
        }
        assert decode_face(members["face.npz"]).model == "none"
    sizes = {record.label: record.outcome.info["bytes"] for record in Ledger(out / "work").records("pack")}
    assert sizes == {path.name: path.stat().st_size for path in (out / "shards").glob("*.tar")}
