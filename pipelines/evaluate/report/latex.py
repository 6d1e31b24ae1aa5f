"""The tables as LaTeX, for `\\input`; they need the package booktabs."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.evaluate.report.tables import ABSENT, Cell, Table

SIGNS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "%": r"\%", "$": r"\$", "#": r"\#", "&": r"\&", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "↓": r"$\downarrow$", "↑": r"$\uparrow$", ABSENT: "--",
}  # fmt: skip


def latex(tables: Sequence[Table]) -> str:
    return "\n\n".join(_table(table) for table in tables) + "\n"


def _table(table: Table) -> str:
    # What a number is stands in the caption's place of our own tables: a column of sentences does not fit a page.
    wide = table.columns[-1] == "What it is"
    width = len(table.columns) - wide
    lines = [
        r"\begin{table}", r"\centering", rf"\caption{{{_text(table.title)}. {_text(table.about)}}}",
        rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}", r"\toprule",
        " & ".join(_text(column) for column in table.columns[:width]) + r" \\", r"\midrule",
    ]  # fmt: skip
    for row in table.rows:
        name = rf"\textbf{{{_text(row.name)}}}" if row.ours else _text(row.name)
        lines.append(" & ".join([name, *(_cell(cell) for cell in row.cells[: width - 1])]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\footnotesize $^{{{letter}}}$ {_text(told)}" for letter, told in table.notes]
    if wide:
        lines += [rf"\par\footnotesize {_text(row.name)}: {_text(row.cells[-1].text)}" for row in table.rows]
    return "\n".join([*lines, r"\end{table}"])


def _cell(cell: Cell) -> str:
    return _text(cell.text) + (rf"$^{{{cell.marks}}}$" if cell.marks else "")


def _text(text: str) -> str:
    return "".join(SIGNS.get(sign, sign) for sign in text)
