"""A rule file is checked to the last word, and says the same however it is laid out."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from pipelines.audit.rules import DEFAULT_RULES, Rules, read_rules
from pipelines.audit.run import _SQL_KINDS
from pipelines.audit.schema import CLIPS_COLUMNS
from pipelines.settings import BadSettings

COLUMNS = {"cut": "FLOAT", "licence": "VARCHAR", "near_leak": "BOOLEAN", "joints_seen": "[]", "frames": "BIGINT"}


def rules_of(tmp_path: Path, text: str) -> Rules:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    return read_rules(path, COLUMNS)


def fired(rules: Rules, row: str) -> list[dict]:
    """The reasons for one row, given as SQL."""
    answer = duckdb.execute(f"select {rules.reasons()} from (select {row})").fetchone()
    assert answer is not None
    return answer[0]


def test_the_rules_that_ship_are_right():
    read_rules(DEFAULT_RULES, {name: _SQL_KINDS.get(str(kind), "[]") for name, kind in CLIPS_COLUMNS})


def test_a_rule_fires_over_its_threshold_and_says_why(tmp_path: Path):
    rules = rules_of(tmp_path, "version: 1\nrules: {cut_inside: {column: cut, above: 2, decision: drop}}")
    (reason,) = fired(rules, "2.5 as cut")
    assert tuple(reason.values()) == ("cut_inside", "cut", "2.5", "above 2.0", "drop")


@pytest.mark.parametrize("row", ["2.0 as cut", "null::float as cut", "'nan'::float - 'nan'::float as cut, 1 as x"])
def test_a_rule_does_not_fire_at_its_threshold_or_without_a_value(tmp_path: Path, row: str):
    rules = rules_of(tmp_path, "version: 1\nrules: {cut_inside: {column: cut, below: 2, decision: drop}}")
    assert fired(rules, row) == []


def test_the_strongest_decision_comes_first(tmp_path: Path):
    rules = rules_of(
        tmp_path,
        "version: 1\nrules: {a: {column: cut, above: 1, decision: review}, b: {column: cut, above: 1, decision: drop}}",
    )
    assert [reason["rule"] for reason in fired(rules, "3 as cut")] == ["b", "a"]


def test_values_with_quotes_are_values(tmp_path: Path):
    rules = rules_of(tmp_path, """version: 1\nrules: {a: {column: licence, in: ["x'); drop"], decision: drop}}""")
    assert len(fired(rules, "'x''); drop' as licence")) == 1


def test_the_hash_is_of_what_is_said_not_of_the_layout(tmp_path: Path):
    one = rules_of(tmp_path, "version: 1\nrules: {a: {column: cut, above: 2, decision: drop}}")
    two = rules_of(tmp_path, "# why\nversion: 1\nrules:\n  a:\n    decision: drop\n    above: 2.0\n    column: cut\n")
    three = rules_of(tmp_path, "version: 1\nrules: {a: {column: cut, above: 2.1, decision: drop}}")
    assert one.hash == two.hash != three.hash


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("version: 1\nrules: {a: {column: cuts, above: 2, decision: drop}}", "did you mean cut"),
        ("version: 1\nrules: {a: {column: cut, above: 2, decision: delete}}", "decision should be"),
        ("version: 1\nrules: {a: {column: cut, decision: drop}}", "exactly one of"),
        ("version: 1\nrules: {a: {column: cut, above: 1, below: 2, decision: drop}}", "exactly one of"),
        ("version: 1\nrules: {a: {column: cut, over: 2, decision: drop}}", "exactly one of"),
        ("version: 1\nrules: {a: {column: cut, above: '2; drop table', decision: drop}}", "should be a number"),
        ("version: 1\nrules: {a: {column: cut, above: .nan, decision: drop}}", "should be a number"),
        ("version: 1\nrules: {a: {column: licence, above: 2, decision: drop}}", "needs a column of numbers"),
        ("version: 1\nrules: {a: {column: cut, is: true, decision: drop}}", "yes-or-no"),
        ("version: 1\nrules: {'a b': {column: cut, above: 2, decision: drop}}", "a name is made of"),
        ("version: 1\nrules: {}", "expected `version"),
        ("rules: {a: {column: cut, above: 2, decision: drop}}", "expected `version"),
        ("version: 1\nrule: {}", "there is no 'rule'"),
        ("version: 1\nrules: {a: drop}", "expected column"),
        ("- 1", "mapping"),
        ("version: [", "not a YAML"),
    ],
)
def test_a_wrong_rule_file_is_refused_with_the_place(tmp_path: Path, text: str, told: str):
    with pytest.raises(BadSettings, match=told):
        rules_of(tmp_path, text)


def test_python_in_a_rule_file_is_not_run(tmp_path: Path):
    with pytest.raises(BadSettings):
        rules_of(tmp_path, f"version: !!python/object/apply:os.mkdir ['{tmp_path / 'made'}']")
    assert not (tmp_path / "made").exists()
