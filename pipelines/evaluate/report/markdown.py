"""The tables as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.evaluate.report.tables import Cell, Table


def markdown(heading: str, tables: Sequence[Table], notes: Sequence[str]) -> str:
    parts = [f"# {_text(heading)}", *(_table(table) for table in tables)]
    if notes:
        parts.append("\n".join(f"- {_text(note)}" for note in notes))
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    lines = [f"## {_text(table.title)}", "", _text(table.about), "", _line(table.columns)]
    lines.append(_line(["---", *["---:"] * (len(table.columns) - 1)]))
    for row in table.rows:
        name = f"**{_text(row.name)}**" if row.ours else _text(row.name)
        lines.append("| " + " | ".join([name, *map(_cell, row.cells)]) + " |")
    if table.notes:
        lines += ["", *(f"{letter}: {_text(told)}  " for letter, told in table.notes)]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(cell: Cell) -> str:
    return _text(cell.text) + (f"<sup>{cell.marks}</sup>" if cell.marks else "")


def _text(text: str) -> str:
    """Names of files and methods come from outside: nothing in them may be markup."""
    for sign in "\\|`*_<>[]":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())
