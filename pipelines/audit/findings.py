"""What a release must not have: `--fail-on`, and the clips that stand in the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from pipelines.audit.rules import nearest
from pipelines.audit.schema import CLIPS, audit_folder
from pipelines.settings import BadSettings

# Checks that did not run: nobody can say that there is nothing.
UNCHECKED = {"minors_unchecked": "minors", "nudity_unchecked": "nudity", "identities_unchecked": "identities",
             "benchmarks_unchecked": "benchmarks"}  # fmt: skip
UNBALANCED = "unbalanced"
SHOWN = 20


@dataclass(frozen=True)
class Finding:
    """Why the audit fails. clips: how many; keys: the first of them; told: a sentence where it is not about clips."""

    name: str
    clips: int
    keys: tuple[str, ...]
    told: str = ""


def check_names(names: Sequence[str], rules: Sequence[str]) -> None:
    """Raise `BadSettings` for a name that no rule and no other finding has, telling the nearest."""
    known = (*rules, *UNCHECKED, UNBALANCED)
    for name in names:
        if name not in known:
            raise BadSettings(f"--fail-on: there is no finding {name!r}{nearest(name, known)}")


def failing(out: Path, summary: dict[str, Any], names: Sequence[str]) -> list[Finding]:
    """Which of the named findings are there. Clips that a person or a rule has dropped do not count: they are not used.

    `corrupt` counts all the same: a shard with a broken sample must be made anew.
    """
    found = []
    checks = {check["name"]: check for check in summary["checks"]}
    for name in dict.fromkeys(names):
        if name == UNBALANCED:
            broken = [i["name"] for i in summary["invariants"] if not i["holds"]]
            if broken:
                found.append(Finding(name, 0, (), "; ".join(broken)))
        elif name in UNCHECKED:
            check = checks[UNCHECKED[name]]
            if not check["ran"]:
                found.append(Finding(name, 0, (), f"{check['name']} did not run: {check['reason']}"))
            elif check["clips"] < check["of"]:
                found.append(Finding(name, check["of"] - check["clips"], (), str(check["reason"])))
        else:
            found += _flagged(out, name)
    return found


def _flagged(out: Path, name: str) -> list[Finding]:
    keys = duckdb.connect().execute(
        "select key from read_parquet(?) where list_contains(flags, ?) and (decision <> 'drop' or ? = 'corrupt') "
        "order by key",
        [str(audit_folder(out) / CLIPS), name, name],
    ).fetchall()  # fmt: skip
    return [Finding(name, len(keys), tuple(row[0] for row in keys[:SHOWN]))] if keys else []
