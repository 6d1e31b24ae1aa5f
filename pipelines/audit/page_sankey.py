"""The ledger as a picture: one stream from the sources to the kept clips, and what leaves it at each stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from pipelines.audit.page_measures import in_words
from pipelines.audit.page_text import amount

STREAM = 190.0
NODE = 5.0
BEND = 16.0
TEXT = 120.0
TOP = 34.0
GAP = 40.0
LABEL = 32.0
THIN = 1.5


@dataclass(frozen=True)
class Ending:
    """What leaves the stream at a stage. state: dropped, review, quarantined or failed."""

    state: str
    reason: str
    value: float


@dataclass(frozen=True)
class Step:
    """A stage at which something leaves, and what goes on from it."""

    name: str
    endings: tuple[Ending, ...]
    rest: float


def steps_of(flow: Sequence[dict[str, Any]], unit: str) -> list[Step]:
    """The stages at which anything left, in order, from the rows of flow.parquet. unit: seconds or rows.

    Several kinds of endings with the same name are one; the smallest beyond five of a stage are taken together.
    """
    steps: list[Step] = []
    for number in sorted({row["step"] for row in flow}):
        rows = [row for row in flow if row["step"] == number]
        on = [row for row in rows if row["to"] == "kept" or row["to"].startswith("after ")]
        ends = [Ending(row["to"], row["reason"] or row["to"], float(row[unit])) for row in rows if row not in on]
        ends = sorted((end for end in ends if end.value > 0), key=lambda end: (-end.value, end.reason))
        if len(ends) > 6:
            rest = sum(end.value for end in ends[5:])
            ends = [*ends[:5], Ending("dropped", f"{len(ends) - 5} other reasons", rest)]
        if ends:
            name = next((row["to"] for row in on), "").removeprefix("after ")
            steps.append(Step("audit" if name == "kept" else name, tuple(ends), sum(float(row[unit]) for row in on)))
    return steps


def sankey(steps: Sequence[Step], total: float, unit: str) -> Markup:
    """The picture as SVG. Widths are to scale; an ending too thin to be seen is drawn 1.5 px wide."""
    if not steps or total <= 0:
        return Markup("")
    scale = STREAM / total
    floor = TOP + STREAM + GAP
    height = floor + max(len(step.endings) for step in steps) * LABEL + 4
    parts: list[Markup] = []
    flowing, x = total, 4.0
    for step in steps:
        widths = [max(THIN, end.value * scale) for end in step.endings]
        column = NODE + BEND + sum(widths) + 2 * len(widths) + TEXT
        parts.append(_node(x, TOP, flowing * scale, step.name, "stage"))
        parts.append(_band(x + NODE, x + column, step.rest * scale, f"{amount(step.rest, unit)} go on"))
        y = TOP + step.rest * scale
        right = x + NODE + BEND + sum(widths) + 2 * len(widths)
        for row, (end, width) in enumerate(zip(step.endings, widths)):
            parts.append(_branch(x + NODE, y, right - width, width, floor + row * LABEL, end, amount(end.value, unit)))
            y += end.value * scale
            right -= width + 2
        flowing, x = step.rest, x + column
    parts.append(_node(x, TOP, max(THIN, flowing * scale), "kept", "kept"))
    share = f"{100 * flowing / total:.0f} % of {amount(total, unit)}"
    parts.append(
        Markup('<text class="big" x="{0}" y="{1}">{3}</text><text class="dim" x="{0}" y="{2}">{4}</text>').format(
            _n(x + 14), _n(TOP + 24), _n(TOP + 44), amount(flowing, unit), share
        )
    )
    label = f"Where {amount(total, unit)} went: {share} were kept"
    return Markup(
        '<svg class="sankey" viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img" aria-label="{2}">{3}</svg>'
    ).format(_n(x + 150), _n(height), label, Markup("\n").join(parts))


def _node(x: float, y: float, height: float, name: str, kind: str) -> Markup:
    return Markup(
        '<rect class="node {}" x="{}" y="{}" width="{}" height="{}" rx="1"/><text class="name" x="{}" y="{}">{}</text>'
    ).format(kind, _n(x), _n(y), _n(NODE), _n(max(THIN, height)), _n(x), _n(y - 10), in_words(name))


def _band(x0: float, x1: float, thick: float, title: str) -> Markup:
    return Markup('<path class="band kept" d="M{0} {2}H{1}V{3}H{0}Z"><title>{4}</title></path>').format(
        _n(x0), _n(x1), _n(TOP), _n(TOP + thick), title
    )


def _branch(x: float, y: float, left: float, wide: float, end_y: float, end: Ending, text: str) -> Markup:
    """A branch that leaves the bottom of the stream, turns down in a column of its own and ends at its label."""
    inner, outer, right = 6.0, 6.0 + wide, left + wide
    path = (
        f"M{_n(x)} {_n(y)}H{_n(right - outer)}Q{_n(right)} {_n(y)} {_n(right)} {_n(y + outer)}V{_n(end_y)}H{_n(left)}"
        f"V{_n(y + wide + inner)}Q{_n(left)} {_n(y + wide)} {_n(left - inner)} {_n(y + wide)}H{_n(x)}Z"
    )
    reason = in_words(end.reason)
    return Markup(
        '<g><path class="band {0}" d="{1}"><title>{2}</title></path>'
        '<text x="{3}" y="{4}">{6}</text><text class="dim" x="{3}" y="{5}">{7}</text></g>'
    ).format(
        end.state, path, f"{reason} ({end.state}): {text}", _n(right + 6), _n(end_y - 8), _n(end_y + 5), reason, text
    )


def _n(value: float) -> str:
    """A coordinate, short."""
    return f"{value:.1f}".removesuffix(".0")


