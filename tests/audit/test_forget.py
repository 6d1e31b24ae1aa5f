"""Withdrawal: gone everywhere, everything else byte for byte, and it does not come back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from pipelines.audit.forget import JOURNAL, Request, forget
from pipelines.audit.forget_select import NotFound
from pipelines.audit.forget_shards import DamagedShard
from pipelines.audit.tombstones import BadTombstones, Tombstones
from pipelines.cli import main
from pipelines.engine.ledger import Ledger
from pipelines.job.intake import take_in
from pipelines.job.plan import Plan
from pipelines.job.progress import Progress
from pipelines.job.stages import PackStage
from pipelines.shard_format import read_tar, write_tar
from pipelines.shard_index import ShardIndex
from tests.audit.withdrawal_set import add_audit, contents, make_dataset, source


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("withdrawal"))


@pytest.fixture
def out(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "out"))


def withdraw(out: Path, name: str):
    return forget(out, Request("ticket 7", source=source(out, name)))


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
