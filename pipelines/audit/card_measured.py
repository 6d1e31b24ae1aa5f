"""The measured part of a dataset card, as Markdown. Whatever came from outside is shown as plain text."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipelines.audit.page_measures import JOINTS, in_words
from pipelines.audit.page_queries import Tables
from pipelines.audit.page_text import duration, measured
from pipelines.audit.schema import SUMMARY, audit_folder
from pipelines.audit.tombstones import Tombstones

SHARES = (("licence", "Licence"), ("consent", "Consent"), ("platform", "Platform"), ("split", "Split"),
          ("shot_size", "Shot size"), ("view", "View"))  # fmt: skip
SHOWN = ("seconds", "height", "person_height", "face_size", "face_yaw", "body_seen", "left_hand_seen", "feet_seen",
         "jitter", "reprojection", "motion", "blur", "blockiness")  # fmt: skip


def measured_section(tables: Tables, out: Path, dataset: dict[str, Any]) -> str:
    """Everything that the audit of `out` knows, for the end of a card."""
    path = audit_folder(out) / SUMMARY
    summary = json.loads(path.read_bytes()) if path.is_file() else {}
    parts = [
        "## This copy, measured",
        f"By `vividpose audit`, of the dataset with the hash `{plain(dataset.get('hash', ''))[:16]}`.",
        _amounts(tables, out, dataset),
        *_shares(tables),
        _measures(tables),
        _people(tables),
        _findings(tables),
        _unchecked(summary),
        _biometric(tables),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def plain(text: object, limit: int = 120) -> str:
    """Other people's text in a Markdown table: no markup, no line breaks, no links."""
    line = " ".join(str(text).split())[:limit]
    return re.sub(r"([\\`*_{}\[\]!|~<>@:])", r"\\\1", html.escape(line, quote=False)) if line else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _amounts(tables: Tables, out: Path, dataset: dict[str, Any]) -> str:
    totals = tables.totals()
    rows = [(f"Clips {row['outcome']}", f"{row['rows']:,} ({duration(row['seconds'])})") for row in totals["outcomes"]]
    rows += [("Sources", f"{totals['sources']:,}"), ("Known uploaders", f"{totals['uploaders']:,}")]
    if totals["people"]:
        rows.append(("People told apart by face", f"{totals['people']:,}"))
    rows += [
        ("Shards", f"{len(dataset.get('shards', [])):,}, {dataset.get('bytes', 0) / 1e9:.2f} GB"),
        ("Frames", f"{dataset.get('frames', 0):,}"),
        ("Withdrawals obeyed", str(len(Tombstones.read(out)))),
    ]
    estimators = dataset.get("estimators") or {}
    rows += [(f"Estimator: {plain(role)}", plain(name)) for role, name in estimators.items()]
    return _table(("", ""), rows)


def _shares(tables: Tables) -> list[str]:
    parts = []
    for column, title in SHARES:
        if column not in tables.columns or not tables.numbers([f"count({column})"])[0]:
            continue
        split = tables.split_by(column, 20)
        groups = [*split["groups"], *([{**split["rest"], "value": "others"}] if split["rest"] else [])]
        rows = [
            (plain(g["value"]), f"{g['clips']:,}", duration(g["parts"].get("kept", 0.0)), duration(g["seconds"]))
            for g in groups
        ]
        parts.append(f"### {title}\n\n" + _table(("", "Clips", "Kept", "All"), rows))
    return parts


def _measures(tables: Tables) -> str:
    quantiles = tables.quantiles()
    rows = []
    for measure in tables.measures:
        values = quantiles.get(measure.column)
        if measure.column in SHOWN and values:
            rows.append((measure.title, *(measured(values[n], measure.unit) for n in (1, 10, 19))))
    return "### Measures\n\n" + _table(("", "5 %", "median", "95 %"), rows) if rows else ""


def _people(tables: Tables) -> str:
    joints = tables.joints()
    if not joints:
        return ""
    rows = [(name, f"{100 * share:.0f} %") for name, share in zip(JOINTS, joints)]
    return "### Joints seen in kept clips\n\n" + _table(("Joint", "Frames"), rows)


def _findings(tables: Tables) -> str:
    rows = [(plain(in_words(row["name"])), f"{row['clips']:,}", duration(row["seconds"])) for row in tables.findings()]
    return "### Findings\n\n" + _table(("Mark", "Clips", "Hours"), rows) if rows else ""


def _unchecked(summary: dict[str, Any]) -> str:
    missing = [check for check in summary.get("checks", ()) if not check["ran"]]
    rows = [(plain(in_words(check["name"])), plain(check["reason"] or "")) for check in missing]
    return "### Not checked\n\n" + _table(("Check", "Why"), rows) if rows else ""


def _biometric(tables: Tables) -> str:
    if "face_model" not in tables.columns:
        return ""
    count = tables.numbers(["count(*) filter (face_model is not null and face_model <> 'none')"])[0]
    if not count:
        return "### Biometric data\n\nThe samples hold no face vectors."
    return (
        f"### Biometric data\n\n{count:,} clips hold face vectors (member `face.npz`), which are biometric data. "
        "`vividpose forget OUT --where` lists them, `--drop-embeddings` takes them out."
    )
