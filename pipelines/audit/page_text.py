"""How the page writes numbers and other people's text."""

from __future__ import annotations

import json
import math
from typing import Any

from markupsafe import Markup


def amount(value: float, unit: str) -> str:
    """Seconds as hours or what suits them; rows as a number with thin spaces between thousands."""
    if unit == "rows":
        return f"{value:,.0f}".replace(",", "\u202f")
    return duration(value)


def duration(seconds: float) -> str:
    """1 234 h, 12.3 h, 14 min or 8 s."""
    if seconds >= 3600 * 100:
        return f"{seconds / 3600:,.0f}".replace(",", "\u202f") + " h"
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def measured(value: float, unit: str) -> str:
    """A measure with its unit; three digits that count."""
    if unit == "%":
        return f"{100 * value:.0f} %" if abs(value) >= 0.0995 or abs(value) < 0.0005 else f"{100 * value:.1f} %"
    text = f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{text}{'' if unit == '°' else ' ' if unit else ''}{unit}"


def short_number(value: Any) -> Any:
    """A float with four digits that count, for less JSON; NaN and infinity become null."""
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return value


def script_json(value: Any) -> Markup:
    """JSON that may stand inside a script element: nothing in it can end the element or open a comment."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
