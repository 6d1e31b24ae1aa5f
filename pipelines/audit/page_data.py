"""The clips as the page's script reads them: columns, small enough for some thousand clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.audit.page_queries import Rows, Tables
from pipelines.audit.page_text import short_number
from pipelines.audit.schema import audit_folder

PREVIEWS = "previews"
LONG = 300
# Columns that say nothing to a person, or that another column says.
LEFT_OUT = frozenset(
    {"betas", "video_sha256", "frames_sha256", "end_frame", "decoded_frames", "exact_rank", "near_rank", "joints_seen"}
)


def shown_keys(pairs: Rows, worst: Mapping[str, Sequence[str]], identities: Rows) -> list[str]:
    """Clips that some part of the page names, so that the page must hold them."""
    keys = [key for pair in pairs for key in (pair["a"], pair["b"])]
    keys += [key for found in worst.values() for key in found]
    keys += [row["example"] for row in identities if row.get("example")]
    return list(dict.fromkeys(keys))


def clip_data(tables: Tables, out: Path, limit: int, wanted: Sequence[str]) -> tuple[dict[str, Any], int]:
    """(what the script is given of the clips, how many clips there are in all)."""
    names = [name for name in tables.columns if name not in LEFT_OUT]
    columns, total = tables.clips(names, limit, wanted)
    folder = audit_folder(out) / PREVIEWS
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    pictures = [(f"{key}.webp" in there) + 2 * (f"{key}.mp4" in there) for key in columns["key"]]
    hidden = set(tables.sensitive())
    return {
        "columns": {name: compact(values) for name, values in columns.items() if any(v is not None for v in values)},
        "pictures": pictures,
        "hidden": [number for number, key in enumerate(columns["key"]) if key in hidden],
        "quantiles": {name: [short_number(value) for value in values] for name, values in tables.quantiles().items()},
        "measures": [
            {"column": m.column, "title": m.title, "group": m.group, "unit": m.unit, "bad": m.bad, "note": m.note}
            for m in tables.measures
        ],
    }, total


def compact(values: Sequence[Any]) -> Any:
    """A column as its values; or as {"of": distinct values, "at": number of each row's value or -1}, if shorter."""
    plain = [_plain(value) for value in values]
    if any(isinstance(value, float) for value in plain):
        return plain
    marks = [str(value) for value in plain]
    if len(set(marks)) * 2 > len(marks):
        return plain
    numbers: dict[str, int] = {}
    of: list[Any] = []
    at = []
    for value, mark in zip(plain, marks):
        if value is None:
            at.append(-1)
            continue
        if mark not in numbers:
            numbers[mark] = len(of)
            of.append(value)
        at.append(numbers[mark])
    return {"of": of, "at": at}


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= LONG else value[: LONG - 1] + "…"
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return short_number(value)
