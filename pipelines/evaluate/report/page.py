"""The results as one page that opens from disk, loads nothing from anywhere and runs nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from pipelines.evaluate.report.tables import ABSENT, Table, show
from pipelines.evaluate.report.worst import Case
from pipelines.evaluate.run import Evaluation


def page(done: Evaluation, heading: str, tables: Sequence[Table], cases: Sequence[Case]) -> str:
    """HTML. Names from outside are escaped; a content security policy allows the page's own style and pictures."""
    style = _asset("page.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src 'self' file:; form-action 'none'"
    environment = Environment(loader=FunctionLoader(_asset), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    absent = [n for n in done.numbers if n.value is None]
    keys = [n.key for n in done.numbers if n.value is not None and any(n.key in v.values for v in done.videos)]
    judge = next((n for n in done.numbers if n.key == done.judge), None)
    return environment.get_template("page.html").render(
        style=Markup(style), policy=policy, heading=heading, done=done, tables=tables, cases=cases, absent=absent,
        keys=keys, judge=judge, show=show, none=ABSENT, numbers={n.key: n for n in done.numbers},
        frames=sum(video.frames for video in done.videos),
    )  # fmt: skip


def _asset(name: str) -> str:
    return resources.files("pipelines.evaluate.report").joinpath("templates", name).read_text(encoding="utf-8")
