"""The page of an audit: one HTML file that opens from disk, loads nothing from anywhere and runs nothing that it shows.

    OUT/audit/index.html           the page, with the tables' answers inside
    OUT/audit/previews/<key>.webp  frame, skeleton and rendering of a clip; <key>.mp4 some of its seconds

Charts are drawn here, as SVG, over all rows. The list of clips holds up to `LIMIT` of them; the page says when that is
a sample. Whatever came from outside (titles, names, URLs) is escaped by jinja2 in the markup, and in the data only ever
becomes text; a content security policy allows this page's own script and style by their hashes and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from pipelines.audit import page_charts as charts
from pipelines.audit.page_checks import release_checks
from pipelines.audit.page_data import clip_data, shown_keys
from pipelines.audit.page_measures import GROUPS, JOINTS, OUTCOMES, in_words
from pipelines.audit.page_queries import Tables
from pipelines.audit.page_sankey import sankey, steps_of
from pipelines.audit.page_text import amount, duration, measured, script_json
from pipelines.audit.previews import LIMIT as PREVIEW_LIMIT
from pipelines.audit.previews import make_previews
from pipelines.audit.schema import SUMMARY, audit_folder
from pipelines.engine.atomic import write_whole

PAGE = "index.html"
LIMIT = 5000
SECTIONS = (
    ("ledger", "Ledger"),
    ("use", "Use"),
    ("findings", "Findings"),
    ("people", "People"),
    ("spread", "Distributions"),
    ("twins", "Duplicates"),
    ("worst", "Worst cases"),
    ("clips", "Clips"),
    ("checks", "Checks"),
)


def build_page(
    out: Path,
    *,
    previews: int = PREVIEW_LIMIT,
    show_faces: bool = False,
    limit: int = LIMIT,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Make the previews that are lacking and write OUT/audit/index.html. Returns its path.

    previews: how many clips at most have one. limit: how many clips the page's list holds at most. Raises
    FileNotFoundError where there has been no audit.
    """
    make_previews(out, limit=previews, show_faces=show_faces, progress=progress)
    return write_html(out, limit=limit)


def write_html(out: Path, *, limit: int = LIMIT) -> Path:
    """Write OUT/audit/index.html from the tables beside it and the previews that are there. Returns its path."""
    path = audit_folder(Path(out)) / PAGE
    write_whole(path, render_page(Path(out), limit=limit).encode())
    return path


def render_page(out: Path, *, limit: int = LIMIT, served: bool = False) -> str:
    """The page as text. served: it comes from `vividpose audit --serve` and may send decisions there."""
    tables = Tables(out)
    summary = read_summary(out)
    pairs, pair_count = tables.pairs()
    worst = tables.worst()
    identities = tables.identities()
    wanted = shown_keys(pairs, worst, identities)
    data, clip_count = clip_data(tables, out, limit, wanted)
    data |= {"pairs": pairs, "worst": worst, "served": served}
    totals = tables.totals()
    seconds = sum(row["seconds"] for row in totals["outcomes"])
    flow = tables.flow()
    flows = [
        (unit, label, sankey(steps_of(flow, unit), whole, unit), steps_of(flow, unit), whole)
        for unit, label, whole in (("seconds", "Hours", seconds), ("rows", "Count", float(totals["rows"])))
    ]
    legal = [
        (title, tables.split_by(column, 8))
        for column, title in (("licence", "Licence"), ("consent", "Consent"), ("platform", "Platform"),
                              ("uploader", "Uploader"))
        if column in tables.columns
    ]  # fmt: skip
    joints, angles = tables.joints(), tables.angles()
    style, script = read_style_and_script()
    return _environment().get_template("page.html").render(
        charts=charts,
        style=Markup(style),
        script=Markup(script),
        policy=served_policy(style, script) if served else policy(style, script),
        data=script_json(data),
        served=served,
        sections=SECTIONS,
        name=out.resolve().name,
        when=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        summary=summary,
        totals=totals,
        outcome=lambda name: next((row for row in totals["outcomes"] if row["outcome"] == name), None),
        seconds=seconds,
        flows=flows,
        lost=tables.without_clip(),
        legal=legal,
        findings=tables.findings(),
        identities=identities,
        figure=charts.figure(joints) if joints else None,
        least_seen=min(zip(joints, JOINTS)) if joints else None,
        compass=charts.compass(angles) if angles else None,
        shots=tables.split_by("shot_size") if "shot_size" in tables.columns else None,
        histograms=tables.histograms(),
        groups=GROUPS,
        outcomes=OUTCOMES,
        leaks=tables.leaks(),
        pair_count=pair_count,
        pairs_held=len(pairs),
        worst=[measure for measure in tables.measures if measure.column in worst],
        clip_count=clip_count,
        clips_held=len(data["columns"]["key"]),
        release=release_checks(tables, summary),
    )


def read_summary(out: Path) -> dict[str, Any]:
    """summary.json; where there is none, one that says nothing."""
    path = audit_folder(out) / SUMMARY
    empty: dict[str, Any] = {"checks": [], "invariants": [], "generated": False}
    return empty | json.loads(path.read_bytes()) if path.is_file() else empty


def policy(style: str, script: str) -> str:
    """The content security policy of the page on disk: its own style and script, pictures beside it, nothing else."""
    return _policy(style, script, "'self' file:", "'none'")


def served_policy(style: str, script: str) -> str:
    """The same for the page of `vividpose audit --serve`, which may also ask its own server."""
    return _policy(style, script, "'self'", "'self'")


def _policy(style: str, script: str, media: str, connect: str) -> str:
    parts = [
        "default-src 'none'",
        f"script-src 'sha256-{_hash(script)}'",
        f"style-src 'sha256-{_hash(style)}'",
        f"img-src {media}",
        f"media-src {media}",
        f"connect-src {connect}",
        "form-action 'none'",
        "base-uri 'none'",
    ]
    return "; ".join(parts)


def read_style_and_script() -> tuple[str, str]:
    return _asset("page.css"), _asset("page.js")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _asset(name: str) -> str:
    return resources.files("pipelines.audit").joinpath("templates", name).read_text(encoding="utf-8")


def _environment() -> Environment:
    environment = Environment(loader=FunctionLoader(_asset), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    environment.filters |= {
        "amount": amount,
        "duration": duration,
        "words": in_words,
        "count": lambda value: amount(float(value), "rows"),
        "measured": measured,
    }
    environment.globals["largest"] = _largest
    return environment


def _largest(groups: Sequence[dict[str, Any]]) -> float:
    return max((group["seconds"] for group in groups), default=0.0)
