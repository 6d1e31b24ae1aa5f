"""Small charts as SVG: histograms, stacked bars, the body with its joints, the compass of views. Colours are CSS."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from pipelines.audit.page_measures import JOINTS, OUTCOMES
from pipelines.audit.page_text import duration, measured

WIDTH, HEIGHT = 252, 64
# Where the 17 joints stand on the figure, in a box of 100 x 200; the person looks at the viewer.
FIGURE = (
    (50, 22), (55, 17), (45, 17), (60, 20), (40, 20), (66, 48), (34, 48), (76, 78), (24, 78), (80, 106), (20, 106),
    (60, 104), (40, 104), (62, 146), (38, 146), (63, 188), (37, 188),
)  # fmt: skip
BONES = (
    (5, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14), (14, 16),
)  # fmt: skip


def histogram(row: Mapping[str, Any]) -> Markup:
    """Kept clips below, all others on top, a tick at the median."""
    unit = row["measure"].unit
    kept, other = row["kept"], row["other"]
    top = max(a + b for a, b in zip(kept, other)) or 1
    step = WIDTH / len(kept)
    bars = []
    for n, (mine, rest) in enumerate(zip(kept, other)):
        low = row["low"] + (row["high"] - row["low"]) * n / len(kept)
        tip = f"from {measured(low, unit)}: {mine} kept, {rest} other"
        high, more = HEIGHT * mine / top, HEIGHT * rest / top
        shape = f'<g><title>{{}}</title>{_bar(n * step, HEIGHT - high - more, step, more, "other")}'
        bars.append(Markup(shape + _bar(n * step, HEIGHT - high, step, high, "kept") + "</g>").format(tip))
    at = WIDTH * min(1.0, max(0.0, (row["median"] - row["low"]) / (row["high"] - row["low"])))
    tick = Markup('<path class="median" d="M{0} {1}v6"/>').format(f"{at:.1f}", HEIGHT + 1)
    label = f"{row['measure'].title}: median {measured(row['median'], unit)}"
    return Markup('<svg class="histogram" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}</svg>').format(
        WIDTH, HEIGHT + 8, label, Markup("").join(bars), tick
    )


def _bar(x: float, y: float, width: float, height: float, kind: str) -> str:
    if height <= 0:
        return ""
    size = f'width="{width - 1:.1f}" height="{max(0.75, height):.1f}"'
    return f'<rect class="{kind}" x="{x + 0.5:.1f}" y="{y:.1f}" {size}/>'


def stacked(parts: Mapping[str, float], whole: float) -> Markup:
    """A bar of what became of some hours, to the scale of `whole`."""
    bars, x = [], 0.0
    for outcome in OUTCOMES:
        share = 100 * parts.get(outcome, 0.0) / whole if whole else 0.0
        if share > 0:
            tip = f"{outcome}: {duration(parts[outcome])}"
            bars.append(
                Markup('<rect class="{}" x="{}" width="{}" height="10"><title>{}</title></rect>').format(
                    outcome, f"{x:.2f}", f"{max(share, 0.2):.2f}", tip
                )
            )
            x += share
    frame = Markup('<svg class="stacked" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">{}</svg>')
    return frame.format(Markup("").join(bars))


def figure(seen: Sequence[float]) -> Markup:
    """The body: a joint is the fuller the more often it is seen."""
    lines = [
        Markup('<path d="M{} {}L{} {}"/>').format(*FIGURE[a], *FIGURE[b]) for a, b in BONES
    ] + [Markup('<path d="M50 34V48"/><circle class="head" cx="50" cy="22" r="13"/>')]
    dots = [
        Markup('<circle class="joint" cx="{}" cy="{}" r="{}" fill-opacity="{}"><title>{}</title></circle>').format(
            x, y, 2.2 if n < 5 else 4, f"{share:.3f}", f"{name}: seen in {100 * share:.0f} % of frames"
        )
        for n, ((x, y), share, name) in enumerate(zip(FIGURE, seen, JOINTS))
    ]
    return Markup('<svg class="figure" viewBox="0 0 100 200" role="img" aria-label="{}">{}{}</svg>').format(
        "How often each joint is seen", Markup("").join(lines), Markup("").join(dots)
    )


def compass(seconds: Sequence[float]) -> Markup:
    """Hours by view angle seen from above; the camera is below the person."""
    top = max(seconds) or 1.0
    size = 2 * math.pi / len(seconds)
    wedges = []
    for n, value in enumerate(seconds):
        start = -math.pi + n * size
        radius = 14 + 66 * math.sqrt(value / top)
        (x0, y0), (x1, y1) = (_at(start + 0.02, radius), _at(start + size - 0.02, radius))
        degrees = round(math.degrees(start + size / 2))
        wedges.append(
            Markup('<path d="M100 100L{} {}A{} {} 0 0 0 {} {}Z"><title>{}</title></path>').format(
                x0, y0, f"{radius:.1f}", f"{radius:.1f}", x1, y1, f"around {degrees}°: {duration(value)}"
            )
        )
    marks = '<text x="100" y="197">front</text><text x="100" y="11">back</text>'
    return Markup(
        '<svg class="compass" viewBox="0 0 200 200" role="img" aria-label="Hours by view angle"><circle cx="100" '
        'cy="100" r="80"/>{}<circle class="middle" cx="100" cy="100" r="9"/>{}</svg>'
    ).format(Markup("").join(wedges), Markup(marks))


def _at(angle: float, radius: float) -> tuple[str, str]:
    """A point of the compass: 0 faces the camera, which is below; positive angles turn to the right of the picture."""
    return f"{100 + radius * math.sin(angle):.1f}", f"{100 + radius * math.cos(angle):.1f}"
