"""Versioned rules that turn the columns of clips.parquet into decisions, as one SQL expression."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.audit.schema import SEVERITY
from pipelines.engine.atomic import digest
from pipelines.settings import BadSettings, load_yaml

DEFAULT_RULES = Path(__file__).with_name("rules.yaml")
TESTS = ("above", "below", "in", "is")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,60}")


@dataclass(frozen=True)
class Rule:
    """`test` is one of TESTS; threshold: a number, a tuple of values, or "present" / "true"."""

    name: str
    column: str
    test: str
    threshold: float | str | tuple[str | float, ...]
    decision: str

    @property
    def told(self) -> str:
        values = self.threshold if isinstance(self.threshold, tuple) else (self.threshold,)
        return f"{self.test} {', '.join(map(str, values))}"

    def condition(self) -> str:
        """SQL that is true where the rule fires, and false or null elsewhere."""
        column = '"' + self.column.replace('"', '""') + '"'
        if self.test == "is":
            return f"{column} is not null" if self.threshold == "present" else f"coalesce({column}, false)"
        if self.test == "in":
            assert isinstance(self.threshold, tuple)
            return f"{column} in ({', '.join(_literal(value) for value in self.threshold)})"
        return f"{column} {'>' if self.test == 'above' else '<'} {_literal(self.threshold)}"


@dataclass(frozen=True)
class Rules:
    """A rule file. hash: of what it says, not of its layout; the name under which decisions cite it."""

    version: int
    rules: tuple[Rule, ...]
    path: str

    @property
    def hash(self) -> str:
        return digest({"version": self.version, "rules": [asdict(rule) for rule in self.rules]})

    @property
    def signature(self) -> str:
        return f"rules:{self.version}:{self.hash[:12]}"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(rule.name for rule in self.rules)

    def told(self) -> dict[str, Any]:
        return {"file": self.path, "version": self.version, "hash": self.hash, "rules": [asdict(r) for r in self.rules]}

    def reasons(self) -> str:
        """SQL of the list of structs of the rules that fire, in the order of the file, strongest decision first."""
        ordered = sorted(self.rules, key=lambda rule: -SEVERITY[rule.decision])
        fields = [
            f"case when {rule.condition()} then {{'rule': {_literal(rule.name)}, 'column': {_literal(rule.column)}, "
            f"'value': left(\"{rule.column}\"::varchar, 200), 'threshold': {_literal(rule.told)}, "
            f"'decision': {_literal(rule.decision)}}} end"
            for rule in ordered
        ]
        return f"list_filter([{', '.join(fields)}], lambda found: found is not null)"


def read_rules(path: Path, columns: Mapping[str, str]) -> Rules:
    """A rule file, checked against the columns (name -> SQL type) there are. Raises `BadSettings` naming the rule."""
    data = load_yaml(path)
    unknown = sorted(set(data) - {"version", "rules"})
    if unknown:
        raise BadSettings(f"{path}: there is no {unknown[0]!r}; expected version and rules")
    version, rules = data.get("version"), data.get("rules")
    if not isinstance(version, int) or isinstance(version, bool) or not isinstance(rules, dict) or not rules:
        raise BadSettings(f"{path}: expected `version: <whole number>` and `rules:` with a rule per name")
    return Rules(version, tuple(_rule(path, name, said, columns) for name, said in rules.items()), str(path))


def rule_names(path: Path) -> tuple[str, ...]:
    """The names in a rule file, before its columns can be checked. Raises `BadSettings`."""
    rules = load_yaml(path).get("rules")
    return tuple(map(str, rules)) if isinstance(rules, dict) else ()


def _rule(path: Path, name: object, said: object, columns: Mapping[str, str]) -> Rule:
    where = f"{path}: rule {str(name)[:60]!r}"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BadSettings(f"{where}: a name is made of a-z, 0-9 and _")
    if not isinstance(said, dict):
        raise BadSettings(f"{where}: expected column, a test ({', '.join(TESTS)}) and decision")
    tests = [test for test in TESTS if test in said]
    extra = sorted(map(str, set(said) - {"column", "decision", *TESTS}))
    if len(tests) != 1 or extra:
        raise BadSettings(f"{where}: expected exactly one of {', '.join(TESTS)}, got {', '.join(map(str, said))}")
    column, decision, threshold = said.get("column"), said.get("decision"), said[tests[0]]
    if column not in columns:
        raise BadSettings(f"{where}: there is no column {column!r}{nearest(str(column), tuple(columns))}")
    if decision not in SEVERITY:
        raise BadSettings(f"{where}: decision should be {', '.join(SEVERITY)}, is {decision!r}")
    checked = _threshold(where, tests[0], threshold, columns[str(column)])
    return Rule(name, str(column), tests[0], checked, str(decision))


def _threshold(where: str, test: str, said: Any, kind: str) -> float | str | tuple[str | float, ...]:
    number = isinstance(said, (int, float)) and not isinstance(said, bool) and math.isfinite(said)
    if test in ("above", "below"):
        if not number:
            raise BadSettings(f"{where}: {test} should be a number, is {said!r}")
        if kind in ("VARCHAR", "BOOLEAN") or "[]" in kind:
            raise BadSettings(f"{where}: {test} needs a column of numbers, its column is {kind.lower()}")
        return float(said)
    if test == "is":
        if said is True or said == "true":
            if kind != "BOOLEAN":
                raise BadSettings(f"{where}: `is: true` needs a yes-or-no column, its column is {kind.lower()}")
            return "true"
        if said != "present":
            raise BadSettings(f"{where}: is should be present or true, is {said!r}")
        return "present"
    if not isinstance(said, list) or not said or not all(isinstance(value, (str, int, float)) for value in said):
        raise BadSettings(f"{where}: in should be a list of values, is {said!r}")
    return tuple(said)


def nearest(name: str, names: Sequence[str]) -> str:
    """The end of a sentence that refuses a name: the nearest that exists."""
    near = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(names)}"


def _literal(value: object) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(float(str(value)))
