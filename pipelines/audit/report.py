"""What the audit says on the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from pipelines.audit.split import Split


def _hours(seconds: float | None) -> str:
    return "?" if seconds is None else f"{seconds / 3600:.2f}"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    return table


def show_summary(summary: dict[str, Any], console: Console) -> None:
    """Outcomes, findings, what did not run, and sums that do not balance."""
    outcomes = _table("outcome", "", "rows", "hours")
    for row in summary["outcomes"]:
        outcomes.add_row(row["outcome"], str(row["rows"]), _hours(row["seconds"]))
    console.print(outcomes)
    findings = _table("findings", "", "clips", "hours")
    for row in summary["findings"]:
        findings.add_row(row["name"], str(row["clips"]), _hours(row["seconds"]))
    if summary["findings"]:
        console.print(findings)
    for check in summary["checks"]:
        if not check["ran"]:
            console.print(f"did not run: {check['name']}: {check['reason']}", markup=False, highlight=False)
    for problem in summary["dataset"].get("problems", [])[:20]:
        console.print(f"problem: {problem}", markup=False, highlight=False, soft_wrap=True)
    for each in summary["invariants"]:
        if not each["holds"]:
            told = f"does not balance: {each['name']}: expected {each['expected']}, found {each['found']}"
            console.print(f"{told} ({each['where']})", style="red", markup=False, highlight=False, soft_wrap=True)


def show_split(split: Split, console: Console) -> None:
    table = _table("split", "part", "wanted", "found", "clips", "hours", "components")
    for row in split.rows:
        table.add_row(row["part"], f"{row['wanted']:.3f}", f"{row['found']:.3f}", str(row["clips"]),
                      _hours(row["seconds"]), str(row["components"]))  # fmt: skip
    console.print(table)
    console.print(f"{split.components} components; the largest, which no split can divide, has "
                  f"{_hours(split.largest)} hours", highlight=False)  # fmt: skip
    if not split.identities_known:
        console.print("no face recogniser ran: the same person may be in several parts under several sources",
                      style="yellow", highlight=False)  # fmt: skip


def show_diff(diff: dict[str, Any], console: Console) -> None:
    """What `diff.compare_audits` found."""
    table = _table(f"{diff['a']} -> {diff['b']}", "", "clips", "hours")
    for row in diff["clips"]:
        table.add_row(row["change"], str(row["clips"]), _hours(row["seconds"]))
    console.print(table)
    for title, rows in (("findings", diff["findings"]), ("licences", diff["licences"])):
        changed = _table(title, "", "before", "after")
        for row in rows:
            changed.add_row(str(row["name"]), f"{row['before']:g}", f"{row['after']:g}")
        if rows:
            console.print(changed)
    title = "distributions of kept clips (PSI over 0.1 is a shift)"
    drift = _table(title, "column", "mean before", "mean after", "PSI")
    for row in diff["drift"]:
        drift.add_row(row["column"], f"{row['before']:.4g}", f"{row['after']:.4g}", f"{row['psi']:.3f}")
    if diff["drift"]:
        console.print(drift)
