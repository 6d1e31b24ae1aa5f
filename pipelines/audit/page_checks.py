"""What stands between the dataset and a release, in a few lines at the top of the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pipelines.audit.page_measures import in_words
from pipelines.audit.page_queries import Tables
from pipelines.audit.page_text import duration

LEAKS = {"exact": "equal content", "near": "nearly equal content"}


@dataclass(frozen=True)
class ReleaseCheck:
    """level: ok, look (somebody should look at it) or stop (it should not be released so). link: a section."""

    level: Literal["ok", "look", "stop"]
    title: str
    detail: str
    link: str


def release_checks(tables: Tables, summary: Mapping[str, Any]) -> list[ReleaseCheck]:
    """In the order of weight: what stops a release first."""
    checks = [_balance(summary), *_unknown(tables), _leaks(tables), _review(tables), *_not_run(summary)]
    return sorted(checks, key=lambda check: ("stop", "look", "ok").index(check.level))


def _balance(summary: Mapping[str, Any]) -> ReleaseCheck:
    broken = [row["name"] for row in summary.get("invariants", ()) if not row["holds"]]
    if broken:
        return ReleaseCheck("stop", "The ledger does not balance", "; ".join(broken), "checks")
    if not summary.get("invariants"):
        return ReleaseCheck("look", "Nobody checked that the ledger balances", "run the audit again", "checks")
    return ReleaseCheck("ok", "The ledger balances", "every row and second is accounted for", "ledger")


def _unknown(tables: Tables) -> list[ReleaseCheck]:
    if not tables.numbers(["count(*) filter (outcome = 'kept')"])[0]:
        return [ReleaseCheck("stop", "No clip is kept", "", "ledger")]
    found = []
    for column, level in (("licence", "stop"), ("consent", "look")):
        if column not in tables.columns:
            continue
        clips, seconds = tables.numbers(
            [
                f"count(*) filter (outcome = 'kept' and coalesce({column}, 'unknown') = 'unknown')",
                f"coalesce(sum(seconds) filter (outcome = 'kept' and coalesce({column}, 'unknown') = 'unknown'), 0)",
            ]
        )
        if clips:
            text = f"{duration(seconds)} in {clips} kept clips"
            found.append(ReleaseCheck(level, f"Unknown {column}", text, "use"))  # type: ignore[arg-type]
        else:
            found.append(ReleaseCheck("ok", f"Every kept clip has a {column}", "", "use"))
    return found


def _leaks(tables: Tables) -> ReleaseCheck:
    leaks = {name: count for name, count in tables.leaks().items() if count}
    if leaks:
        text = ", ".join(f"{count} clips by {LEAKS.get(name, name)}" for name, count in leaks.items())
        return ReleaseCheck("stop", "Train and test share people or videos", text, "twins")
    if "split" in tables.columns and tables.numbers(["count(split)"])[0]:
        return ReleaseCheck("ok", "No leak between the splits", "", "twins")
    return ReleaseCheck("look", "There is no split yet", "vividpose split makes one that does not leak", "twins")


def _review(tables: Tables) -> ReleaseCheck:
    clips = tables.numbers(["count(*) filter (outcome = 'review')"])[0]
    if clips:
        waiting = "One clip waits" if clips == 1 else f"{clips} clips wait"
        return ReleaseCheck("look", f"{waiting} for a decision", "", "clips")
    return ReleaseCheck("ok", "No clip waits for a decision", "", "clips")


def _not_run(summary: Mapping[str, Any]) -> list[ReleaseCheck]:
    missing = [check["name"] for check in summary.get("checks", ()) if not check["ran"]]
    if not missing:
        return []
    title = "One check did not run" if len(missing) == 1 else f"{len(missing)} checks did not run"
    return [ReleaseCheck("look", title, ", ".join(in_words(name) for name in missing), "checks")]
