"""An audit of a dataset with known faults finds them, balances, and does nothing twice."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.audit.findings import check_names, failing
from pipelines.audit.planted_score import Score, score_audit
from pipelines.audit.rules import DEFAULT_RULES
from pipelines.audit.run import AuditOptions, run_audit
from pipelines.audit.schema import DECISIONS_SCHEMA, MANUAL, audit_folder
from pipelines.cli import main
from pipelines.engine.ledger import Ledger
from pipelines.settings import BadSettings
from tests.audit.planted_set import Planted, make, query


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return make(tmp_path_factory.mktemp("planted") / "out")


@pytest.fixture(scope="module")
def scores(planted: Planted) -> dict[str, Score]:
    return {score.check: score for score in score_audit(planted.out, planted.truth)}


@pytest.fixture
def out(planted: Planted, tmp_path: Path) -> Path:
    return planted.copy(tmp_path / "out")


CHECKS = ("exact_duplicate", "near_duplicate", "cut_inside", "frozen", "crowd", "unknown_licence", "corrupt",
          "left_right_swap", "identity_leak")  # fmt: skip


@pytest.mark.parametrize("check", CHECKS)
def test_all_that_was_planted_is_found(scores: dict[str, Score], check: str):
    assert scores[check].planted > 0
    assert scores[check].missed == ()


@pytest.mark.parametrize("check", CHECKS)
def test_nothing_else_is_accused(scores: dict[str, Score], check: str):
    assert scores[check].wrong == ()


def test_the_sums_balance(planted: Planted):
    assert [i["name"] for i in planted.summary["invariants"] if not i["holds"]] == []


def test_a_check_without_a_classifier_did_not_run_and_says_so(planted: Planted):
    checks = {check["name"]: check for check in planted.summary["checks"]}
    assert [checks[name]["ran"] for name in ("minors", "nudity")] == [False, False]
    assert query(planted.out, "select count(minor) from t") == [(0,)]


def test_every_clip_of_the_shards_has_one_decision(planted: Planted):
    assert pq.read_schema(planted.out / "decisions.parquet").equals(DECISIONS_SCHEMA)
    rows = query(planted.out, "select count(*), count(distinct key) from t", "decisions")
    assert rows == [(40, 40)]


def test_a_reason_names_rule_value_and_threshold(planted: Planted):
    key = min(planted.truth.faults["cut_inside"])
    ((reasons, by),) = query(planted.out, f"select reasons, \"by\" from t where key = '{key}'", "decisions")
    assert any(reason.startswith("cut_inside: cut is ") and "above 2.0" in reason for reason in reasons)
    assert by.startswith("rules:1:")


def test_a_corrupt_sample_says_what_is_wrong(planted: Planted):
    told = " ".join(row[0] for row in query(planted.out, "select corrupt from t where corrupt is not null"))
    for part in ("video.mp4 cannot be decoded", "smplx.npz is not a plain npz", "NaN", "frames should", "lacks face"):
        assert part in told


def units(out: Path) -> dict[str, set[str]]:
    ledger = Ledger(audit_folder(out) / "work")
    return {stage: {record.unit for record in ledger.records(stage)} for stage in ("audit_people", "audit_picture")}


def test_another_rule_file_measures_nothing_again(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before = units(out)
    rules = tmp_path / "rules.yaml"
    rules.write_text(DEFAULT_RULES.read_text().replace("{column: cut, above: 2.0", "{column: cut, above: 2000.0"))
    monkeypatch.setattr("pipelines.audit.shards.IsolatedWorker.call", None)
    summary = run_audit(out, AuditOptions(rules=rules))
    assert "cut_inside" not in {row["name"] for row in summary["findings"]}
    assert units(out) == before


def test_an_audit_without_news_writes_the_same_bytes(out: Path):
    names = ("decisions.parquet", "audit/clips.parquet", "audit/pairs.parquet", "audit/identities.parquet",
             "audit/flow.parquet", "audit/summary.json")  # fmt: skip
    run_audit(out)
    before = {name: (out / name).read_bytes() for name in names}
    run_audit(out)
    assert {name: (out / name).read_bytes() for name in names} == before


@pytest.mark.slow
def test_only_a_new_shard_is_measured(out: Path):
    before = units(out)
    facts = json.loads((out / "dataset.json").read_text())
    first = facts["shards"][0]["name"]
    taken = (out / "shards" / first).read_bytes()
    # The same content under another name is measured already; other content is not.
    (out / "shards" / first).rename(out / "shards" / "vividpose-000009.tar")
    facts["shards"][0]["name"] = "vividpose-000009.tar"
    (out / "dataset.json").write_text(json.dumps(facts))
    run_audit(out)
    assert units(out) == before
    (out / "shards" / "vividpose-000009.tar").write_bytes(taken + bytes(512))
    run_audit(out)
    assert {stage: len(after) - len(before[stage]) for stage, after in units(out).items()} == {
        "audit_people": 1, "audit_picture": 1,
    }  # fmt: skip


def tampered(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    def tamper(out: Path) -> None:
        pq.write_table(change(pq.read_table(out / "manifest.parquet")), out / "manifest.parquet")

    return tamper


def lose_a_shard(out: Path) -> None:
    sorted((out / "shards").glob("*.tar"))[0].unlink()


def change_a_byte(out: Path) -> None:
    path = sorted((out / "shards").glob("*.tar"))[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def miscount(out: Path) -> None:
    facts = json.loads((out / "dataset.json").read_text())
    facts["shards"][0]["samples"] -= 1
    (out / "dataset.json").write_text(json.dumps(facts))


def keep_what_was_dropped(table: pa.Table) -> pa.Table:
    states = ["kept" if state == "dropped" else state for state in table["state"].to_pylist()]
    return table.set_column(table.schema.get_field_index("state"), "state", pa.array(states))


@pytest.mark.parametrize(
    "tamper",
    [
        tampered(lambda table: table.slice(1)),
        tampered(lambda table: pa.concat_tables([table, table.slice(0, 1)])),
        tampered(keep_what_was_dropped),
        lose_a_shard,
        pytest.param(change_a_byte, marks=pytest.mark.slow),
        miscount,
    ],
    ids=["a row is gone", "a row twice", "a state changed", "a shard is gone", "a byte changed", "a wrong count"],
)  # fmt: skip
def test_sums_that_do_not_balance_fail_the_audit(out: Path, tamper: Callable[[Path], None]):
    tamper(out)
    assert run_audit(out)["balanced"] is False
    assert main(["audit", str(out), "--no-page"]) == 1


def test_a_persons_decision_lies_over_the_rules_and_can_be_withdrawn(out: Path):
    key = min(planted_key for planted_key, in query(out, "select key from t where decision = 'drop'"))
    manual = audit_folder(out) / MANUAL
    line = {"key": key, "decision": "keep", "why": "looked at it", "by": "ada", "at": "2026-01-02T03:04:05Z"}
    manual.write_text(json.dumps(line) + "\n")
    run_audit(out)
    assert query(out, f"select decision, reasons, \"by\", \"at\" from t where key = '{key}'", "decisions") == [
        ("keep", ["looked at it"], "ada", "2026-01-02T03:04:05Z")
    ]
    with manual.open("a") as stream:
        stream.write(json.dumps({**line, "decision": None}) + "\n")
    run_audit(out)
    assert query(out, f"select decision from t where key = '{key}'", "decisions") == [("drop",)]


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"key": "a"}', '{"key": "a", "decision": "burn"}', '{"decision": "keep"}']
)
def test_a_broken_line_of_decisions_ends_the_audit_with_its_number(out: Path, line: str):
    (audit_folder(out) / MANUAL).write_text('{"key": "a", "decision": null}\n' + line + "\n")
    with pytest.raises(BadSettings, match="line 2"):
        run_audit(out)


def test_a_split_by_components_does_not_leak(out: Path):
    assert main(["split", str(out), "--parts", "train=0.8,test=0.2"]) == 0
    leaks = ("identity_leak", "source_leak", "exact_leak", "near_leak")
    assert query(out, f"select {', '.join(f'count(*) filter ({leak})' for leak in leaks)} from t") == [(0, 0, 0, 0)]
    assert query(out, "select count(split) from t", "decisions") == [(40,)]


def test_a_benchmark_inside_the_dataset_is_found(planted: Planted, out: Path):
    """The dataset as its own benchmark: every clip that can be read is found again."""
    options = AuditOptions(benchmarks=(planted.out / "audit" / "fingerprints.parquet",))
    run_audit(out, options)
    readable = query(out, "select count(*) from t where state = 'kept' and corrupt is null")
    assert query(out, "select count(benchmark) from t") == readable


def test_findings_fail_the_command_with_the_clips(out: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["audit", str(out), "--no-page", "--fail-on", "corrupt,minors_unchecked"]) == 2
    told = capsys.readouterr().err
    assert "fail: corrupt: 5 clips" in told
    assert "minors did not run" in told


def test_what_was_dropped_does_not_fail_a_release(planted: Planted):
    assert failing(planted.out, planted.summary, ["cut_inside"]) == []


def test_an_unknown_finding_is_refused_with_the_nearest():
    with pytest.raises(BadSettings, match="did you mean unknown_licence"):
        check_names(["unknown_licens"], ["unknown_licence"])


def test_a_folder_without_a_dataset_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["audit", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert "vividpose shards" in told
    assert "Traceback" not in told


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "", ".."])
def test_a_shard_name_that_is_a_path_is_refused(out: Path, name: str, capsys: pytest.CaptureFixture[str]):
    facts = json.loads((out / "dataset.json").read_text())
    facts["shards"][0]["name"] = name
    (out / "dataset.json").write_text(json.dumps(facts))
    assert main(["audit", str(out)]) == 1
    assert "no plain file name" in capsys.readouterr().err


def test_two_audits_are_compared(planted: Planted, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rules = tmp_path / "rules.yaml"
    rules.write_text(DEFAULT_RULES.read_text().replace("{column: cut, above: 2.0", "{column: cut, above: 2000.0"))
    run_audit(out, AuditOptions(rules=rules))
    assert main(["audit", "diff", str(planted.out), str(out)]) == 0
    assert "dropped -> kept" in capsys.readouterr().out


@pytest.mark.slow
def test_ray_measures_what_this_process_measures(planted: Planted, tmp_path: Path):
    out = planted.copy(tmp_path / "out")
    shutil.rmtree(audit_folder(out) / "work")
    run_audit(out, AuditOptions(executor="ray"))
    for name in ("clips", "pairs", "identities", "fingerprints"):
        ours, theirs = (audit_folder(folder) / f"{name}.parquet" for folder in (out, planted.out))
        assert pq.read_table(ours).equals(pq.read_table(theirs)), name


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.drop_columns(["licence"]),
        lambda table: table.set_column(16, "frames", pa.array(["many"] * len(table))),
    ],
    ids=["a column is missing", "text for a number"],
)
def test_a_manifest_that_is_none_is_one_line(out: Path, change: Callable, capsys: pytest.CaptureFixture[str]):
    tampered(change)(out)
    assert main(["audit", str(out)]) == 1
    assert "run `vividpose shards`" in capsys.readouterr().err


def test_a_hostile_manifest_is_data(out: Path):
    """A length that is no number, a column name that is SQL, a title without end: told, not executed."""

    def poison(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index
        seconds = [float("nan"), *table["seconds"].to_pylist()[1:]]
        titles = ["'; drop table base; --" * 10_000] * len(table)
        table = table.set_column(place("seconds"), "seconds", pa.array(seconds, pa.float64()))
        table = table.set_column(place("title"), "title", pa.array(titles))
        return table.append_column('score_x" as key, 1 as "', pa.array([1.0] * len(table)))

    tampered(poison)(out)
    summary = run_audit(out)
    assert summary["balanced"] is False
    assert query(out, "select count(*) from t where state = 'kept'") == [(40,)]
    json.loads((audit_folder(out) / "summary.json").read_text(), parse_constant=lambda name: pytest.fail(name))
