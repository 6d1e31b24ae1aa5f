"""Withdrawal: gone everywhere, everything else byte for byte, and it does not come back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.audit.forget import JOURNAL, Request, forget
from pipelines.audit.forget_embeddings import drop_embeddings, find_embeddings
from pipelines.audit.forget_search import Finder, Traces, search
from pipelines.audit.forget_select import NotFound
from pipelines.audit.forget_shards import DamagedShard, rewrite
from pipelines.audit.tombstones import BadTombstones, Tombstones
from pipelines.cli import main
from pipelines.engine.ledger import Ledger
from pipelines.job.intake import take_in
from pipelines.job.plan import Plan
from pipelines.job.progress import Progress
from pipelines.job.stages import PackStage
from pipelines.latents_format import LatentsWriter, latents_name
from pipelines.shard_format import decode_face, read_tar, write_tar
from pipelines.shard_index import ShardIndex
from tests.audit.withdrawal_set import contents, make_dataset


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("withdrawal"))


@pytest.fixture
def out(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "out"))


def source(out: Path, name: str) -> str:
    return next(row.sha256 or "" for row in Plan(out / "work").all_sources() if row.name == name)


def withdraw(out: Path, name: str):
    return forget(out, Request("ticket 7", source=source(out, name)))


def add_audit(out: Path) -> None:
    """What an audit, previews, and caches of latents leave that speaks of clips."""
    keys = [row[0] for row in duckdb.execute(
        "select key from read_parquet(?) order by source_path, key", [str(out / "manifest.parquet")]).fetchall()]
    audit = out / "audit"
    (audit / "previews").mkdir(parents=True)
    hashes = {(row.sha256 or "")[:16]: row.sha256 for row in Plan(out / "work").all_sources()}
    shas = [hashes[key[:16]] for key in keys]
    people = [0, 0, 0, 1, 2]  # anna2 and both clips of anna show one person
    table = pa.table({"key": keys, "source_sha256": shas, "identity": people, "seconds": [0.12] * 5})
    pq.write_table(table, audit / "clips.parquet")
    pq.write_table(pa.table({"a": keys[:-1], "b": keys[1:]}), audit / "pairs.parquet")
    faces = [np.full(512, n, np.float16).tobytes() for n in range(5)]
    pq.write_table(pa.table({"key": keys, "face": faces}), audit / "fingerprints.parquet")
    (audit / "manual.jsonl").write_text("".join(json.dumps({"key": key, "decision": "keep"}) + "\n" for key in keys))
    (audit / "index.html").write_text(" ".join(keys))
    for key in keys:
        (audit / "previews" / f"{key}.webp").write_bytes(b"picture")
    (out / "latents" / "k").mkdir(parents=True)
    for shard in sorted((out / "shards").glob("*.tar")):
        shapes = {f"{key}.moments": (2, 3) for key, _ in read_tar(shard)}
        with LatentsWriter(out / "latents" / "k" / latents_name(shard.name), shapes, {}) as latents:
            for shape in shapes.values():
                latents.write(np.zeros(shape, np.float16))
    (out / "cache").mkdir()
    member = dict.fromkeys(("face.npz", "json", "pose.npz", "render.mp4", "smplx.npz", "video.mp4"), b"x")
    write_tar(out / "cache" / "copy.tar", [(key, member) for key in keys])


def test_no_trace_of_a_source_is_left(out: Path):
    add_audit(out)
    key = source(out, "anna.mp4")[:16]
    result = withdraw(out, "anna.mp4")
    assert result.proof is not None
    assert result.proof.found == []
    assert result.clips == 2
    for path in out.rglob("*"):
        assert key not in path.name
        if path.is_file() and path.name != "tombstones.jsonl":
            assert key.encode() not in path.read_bytes()


def test_latents_of_other_shards_stay(out: Path):
    add_audit(out)
    withdraw(out, "cleo.mp4")
    left = sorted(path.name for path in (out / "latents" / "k").iterdir())
    assert left == ["vividpose-000001.safetensors", "vividpose-000002.safetensors"]


def test_shards_hold_what_packing_the_rest_would_have_made(out: Path, tmp_path: Path):
    key = source(out, "anna.mp4")[:16]
    rest = [(k, m) for k, m in read_tar(out / "shards/vividpose-000000.tar") if not k.startswith(key)]
    write_tar(tmp_path / "expected.tar", rest)
    withdraw(out, "anna.mp4")
    assert (out / "shards/vividpose-000000.tar").read_bytes() == (tmp_path / "expected.tar").read_bytes()


def test_everything_else_is_byte_for_byte_the_same(out: Path):
    before = contents(out)
    withdraw(out, "cleo.mp4")
    after = contents(out)
    shard = {"shards/vividpose-000000.tar", "shards/vividpose-000000.index.json"}
    touched = {"dataset.json", "manifest.parquet", "tombstones.jsonl", "work/hashes.jsonl"} | shard
    changed = {name for name in after if before.get(name) != after[name]} - touched
    assert all(name.startswith(("work/plan/", "work/commits/pack/")) for name in changed)
    assert after["shards/vividpose-000001.tar"] == before["shards/vividpose-000001.tar"]
    kept = [name for name in before if name.startswith("work/units/")]
    assert len([name for name in kept if name in after]) == len(kept) * 4 // 5


def test_dataset_json_manifest_and_index_agree_with_the_shards(out: Path):
    withdraw(out, "anna.mp4")
    dataset = json.loads((out / "dataset.json").read_text())
    for row in dataset["shards"]:
        path = out / "shards" / row["name"]
        keys = [key for key, _ in read_tar(path)]
        index = ShardIndex.from_json(path.with_suffix(".index.json").read_bytes())
        assert (row["samples"], row["bytes"]) == (len(keys), path.stat().st_size)
        assert (list(index.keys), index.sha256) == (keys, row["sha256"])
    assert dataset["samples"] == 3
    assert pq.read_table(out / "manifest.parquet").num_rows == 3


def test_the_next_run_finds_the_rewritten_shard_packed(out: Path):
    withdraw(out, "cleo.mp4")
    ledger = Ledger(out / "work")
    records = {record.label: record for record in ledger.records("pack")}
    assert len(records) == 3
    for name, record in records.items():
        assert PackStage().unit(name, record.inputs["samples"]).id == record.unit
        assert (out / "shards" / name).stat().st_size == record.outcome.info["bytes"]


def test_an_emptied_shard_keeps_its_number(out: Path):
    withdraw(out, "anna2.mp4")
    assert not (out / "shards/vividpose-000002.tar").exists()
    assert [shard.name for shard in Plan(out / "work").shards()][-1] == "vividpose-000002.tar"
    assert Plan(out / "work").add_shards({"new": 1}, 10)[-1].name == "vividpose-000003.tar"


def test_a_withdrawn_source_does_not_come_back(out: Path, pristine: Path):
    withdraw(out, "ben.mp4")
    found = take_in(str(pristine.parent / "videos"), out, Progress())
    again = next(row for row in found if row.name == "ben.mp4")
    assert (again.sha256, again.provenance) == (None, {})
    assert again.problem is not None
    assert (again.problem["reason"], again.problem["state"]) == ("withdrawn", "dropped")
    assert sum(row.sha256 is not None for row in found) == 3


def test_another_download_of_the_same_url_does_not_come_back(out: Path, tmp_path: Path):
    withdraw(out, "ben.mp4")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "again.mp4").write_bytes(b"other bytes")
    (tmp_path / "more" / "sources.csv").write_text("file,url\nagain.mp4,https://example.org/watch/10\n")
    assert take_in(str(tmp_path / "more"), out, Progress())[0].problem is not None


def test_a_longer_url_is_another_url(out: Path):
    assert len(withdraw(out, "anna.mp4").sources) == 1
    rows = duckdb.execute("select distinct url from read_parquet(?)", [str(out / "manifest.parquet")]).fetchall()
    assert ("https://example.org/watch/10",) in rows


def test_everything_of_an_uploader_goes_also_what_comes_later(out: Path, tmp_path: Path):
    result = forget(out, Request("ticket 8", uploader="studio one "))
    assert sorted(Path(path).name for facts in result.sources for path in facts.paths) == ["anna.mp4", "ben.mp4"]
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "new.mp4").write_bytes(b"new")
    (tmp_path / "later" / "sources.csv").write_text("file,uploader\nnew.mp4,STUDIO ONE\n")
    assert take_in(str(tmp_path / "later"), out, Progress())[0].problem is not None


def test_a_person_goes_from_every_source(out: Path):
    add_audit(out)
    key = source(out, "anna2.mp4")[:16] + "_000000"
    result = forget(out, Request("ticket 9", identity=key))
    assert len(result.sources) == 2
    assert result.proof is not None
    assert result.proof.clean
    assert duckdb.execute("select count(*) from read_parquet(?)", [str(out / "audit/clips.parquet")]).fetchone() == (2,)


def test_the_tombstone_names_nobody(out: Path):
    withdraw(out, "ben.mp4")
    forget(out, Request("ticket 8", uploader="dana"))
    text = (out / "tombstones.jsonl").read_text()
    for word in ("Studio", "dana", "example.org", "ben.mp4", "dances"):
        assert word not in text


def test_a_dry_run_changes_nothing(out: Path):
    before = contents(out)
    result = forget(out, Request("", uploader="Studio One"), dry_run=True)
    assert result.clips == 3
    assert contents(out) == before


def test_it_works_without_the_work_folder(out: Path):
    shutil.rmtree(out / "work")
    sha = duckdb.execute("select source_sha256 from read_parquet(?) where uploader = 'dana'",
                         [str(out / "manifest.parquet")]).fetchone()  # fmt: skip
    assert sha is not None
    result = forget(out, Request("ticket", source=sha[0]))
    assert result.proof is not None
    assert (result.proof.clean, result.clips) == (True, 1)


def test_a_video_never_seen_can_be_withdrawn_beforehand(out: Path, tmp_path: Path):
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "stranger.mp4").write_bytes(b"stranger")
    forget(out, Request("ticket", source=str(tmp_path / "v" / "stranger.mp4")))
    assert take_in(str(tmp_path / "v"), out, Progress())[0].problem is not None


STEPS = [pytest.param(step, marks=[] if step in (3, 12) else [pytest.mark.slow]) for step in range(0, 45, 3)]


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_it_is_completed_by_the_next_call(out: Path, tmp_path: Path, step: int):
    add_audit(out)
    name = source(out, "anna.mp4")
    torn = Path(shutil.copytree(out, tmp_path / "torn"))
    forget(out, Request("ticket 7", source=name))
    process = subprocess.run([sys.executable, "-c", KILLED, str(torn), name, str(step)], env=os.environ, check=False)
    assert process.returncode == (-signal.SIGKILL if step < 36 else process.returncode)
    result = forget(torn, Request(""))
    assert result.proof is not None
    assert result.proof.clean
    assert not (torn / JOURNAL).exists()
    left, wanted = contents(torn), contents(out)
    # Records hold the name of the run that wrote them, tombstones their time and key.
    own = ("work/commits/pack", "tombstones")
    assert {k: v for k, v in left.items() if not k.startswith(own)} == {
        k: v for k, v in wanted.items() if not k.startswith(own)
    }
    assert [k for k in left if k.startswith(own)] == [k for k in wanted if k.startswith(own)]


# Ends its process hard at the n-th replacement or removal of a file after the tombstones were written.
KILLED = """
import os, signal, sys
from pathlib import Path
from pipelines.audit import forget as module
count = int(sys.argv[3])
def counting(function):
    def counted(*arguments, **more):
        global count
        count -= armed
        if count < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **more)
    return counted
armed = 0
begin = module._begin
def begun(*arguments):
    global armed
    journal = begin(*arguments)
    armed = 1
    return journal
module._begin = begun
for name in ("replace", "unlink"):
    setattr(os, name, counting(getattr(os, name)))
Path.unlink = counting(Path.unlink)
module.forget(Path(sys.argv[1]), module.Request("ticket 7", source=sys.argv[2]))
"""


def test_a_cut_off_shard_is_refused_before_anything_changes(out: Path):
    name = source(out, "anna.mp4")
    shard = out / "shards/vividpose-000001.tar"
    shard.write_bytes(shard.read_bytes()[:9000])
    before = contents(out)
    with pytest.raises(DamagedShard, match="vividpose-000001"):
        forget(out, Request("ticket", source=name))
    assert contents(out) == before


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


def test_a_bare_name_that_two_files_bear_is_refused(out: Path, tmp_path: Path):
    plan = Plan(out / "work")
    row = next(row for row in plan.sources() if row.name == "ben.mp4")
    plan.add_sources([replace(row, path="/elsewhere/ben.mp4", sha256="0" * 64)])
    with pytest.raises(NotFound, match="2 sources are called"):
        forget(out, Request("ticket", source="ben.mp4"))


def test_a_url_that_others_have_too_takes_only_the_one_along(out: Path):
    plan = Plan(out / "work")
    rows = {row.name: row for row in plan.sources()}
    url = rows["ben.mp4"].provenance["url"]
    cleo = rows["cleo.mp4"]
    plan.add_sources([replace(cleo, provenance={**cleo.provenance, "url": url})])
    assert len(withdraw(out, "ben.mp4").sources) == 1


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


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        (Request("r", source="nowhere.mp4"), "no source is called"),
        (Request("r", uploader="unknown"), "name of an uploader"),
        (Request("r", identity="3"), "tells people apart"),
    ],
)
def test_what_is_not_there_is_told(out: Path, request_: Request, wanted: str):
    with pytest.raises(NotFound, match=wanted):
        forget(out, request_)


def test_the_command_wants_a_reason(out: Path, capsys: pytest.CaptureFixture):
    assert main(["forget", str(out), "--uploader", "dana"]) == 1
    assert "--reason" in capsys.readouterr().err


def test_the_command_prints_its_proof(out: Path, capsys: pytest.CaptureFixture):
    assert main(["forget", str(out), "--uploader", "dana", "--reason", "ticket"]) == 0
    assert "nothing is left" in capsys.readouterr().out


def test_a_folder_that_is_no_dataset_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main(["forget", str(tmp_path), "--uploader", "dana", "--reason", "ticket"]) == 1
    assert "no output folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_broken_tombstone_stops_the_intake(out: Path, pristine: Path):
    (out / "tombstones.jsonl").write_text("{}\n{\"kind\": \"source\"}\n")
    with pytest.raises(BadTombstones, match="line 1"):
        take_in(str(pristine.parent / "videos"), out, Progress())


def test_a_torn_last_tombstone_is_as_none(out: Path):
    withdraw(out, "ben.mp4")
    with (out / "tombstones.jsonl").open("a") as file:
        file.write('{"kind": "sou')
    assert len(Tombstones.read(out)) == 1
