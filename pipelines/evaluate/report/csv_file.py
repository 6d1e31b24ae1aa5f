"""Every number, ours and published, one a line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

from pipelines.evaluate.published_tables import published
from pipelines.evaluate.run import Evaluation

COLUMNS = (
    "method", "dataset", "protocol", "metric", "value", "low", "high", "better", "videos", "frames", "clips", "width",
    "height", "clip_rule", "resize", "definition", "weights", "estimators", "reason", "notes", "source", "faults",
)  # fmt: skip


def numbers_csv(done: Evaluation) -> str:
    rows: list[dict[str, Any]] = []
    for number in done.numbers:
        row = {name: value for name, value in number.as_json().items() if name in COLUMNS}
        row |= {
            "method": done.request.method, "dataset": done.request.dataset, "source": "measured",
            "width": number.size[0] if number.size else None, "height": number.size[1] if number.size else None,
            "weights": " ".join(f"{name}={sha}" for name, sha in number.weights.items()),
            "notes": "; ".join(number.notes), "estimators": " ".join(number.estimators),
        }  # fmt: skip
        rows.append(row)
    for table in published(done.request.dataset):
        for method in table.rows:
            for metric, value in method.values.items():
                rows.append({
                    "method": method.method, "dataset": table.dataset, "protocol": table.protocol, "metric": metric,
                    "value": value, "source": f"{table.source}; {method.source}",
                    "faults": "; ".join(table.marks(method, metric)),
                })  # fmt: skip
    return _written(COLUMNS, rows)


def videos_csv(done: Evaluation) -> str:
    """The means of every video, one a line."""
    keys = sorted({key for video in done.videos for key in video.values})
    rows = [{"video": v.name, "frames": v.frames, "width": v.size[0], "height": v.size[1], **v.values}
            for v in done.videos]  # fmt: skip
    return _written(("video", "frames", "width", "height", *keys), rows)


def _written(columns: Iterable[str], rows: Iterable[dict[str, Any]]) -> str:
    held = io.StringIO()
    writer = csv.DictWriter(held, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _safe(value) for name, value in row.items()} for row in rows)
    return held.getvalue()


def _safe(value: Any) -> Any:
    """A spreadsheet takes text that begins like this for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t")) else value
