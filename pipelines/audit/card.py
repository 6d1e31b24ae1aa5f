"""A dataset card in the format of Hugging Face: what a person wrote, and below it what the audit measured."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from pipelines.audit.card_measured import measured_section
from pipelines.audit.croissant import croissant
from pipelines.audit.page_queries import Tables
from pipelines.engine.atomic import write_whole

CARDS = Path(__file__).resolve().parents[2] / "datasets_cards"
MARK = "<!-- measured -->"
CROISSANT = "croissant.json"
SIZES = (
    (1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"), (1e7, "1M<n<10M"), (1e8, "10M<n<100M"),
    (1e9, "100M<n<1B"), (1e10, "1B<n<10B"),
)  # fmt: skip


class BadTemplate(ValueError):
    """A template that cannot be filled: which one, and what it lacks."""


def read_template(name: str | Path) -> tuple[dict[str, Any], str]:
    """(header, text) of a card of `datasets_cards`, by name, or of any such file. Raises `BadTemplate`."""
    path = CARDS / f"{name}.md" if re.fullmatch(r"[A-Za-z0-9_-]+", str(name)) else Path(name)
    if not path.is_file():
        known = ", ".join(sorted(card.stem for card in CARDS.glob("*.md"))) or "none here"
        raise BadTemplate(f"{path} is not there; known templates: {known}; or give the path of one")
    parts = re.fullmatch(r"---\n(.*?)\n---\n(.*)", path.read_text(encoding="utf-8"), re.DOTALL)
    if parts is None:
        raise BadTemplate(f"{path} has no YAML header between two lines of ---")
    try:
        header = yaml.safe_load(parts[1])
    except yaml.YAMLError as error:
        raise BadTemplate(f"{path}: the header is not YAML: {error}") from error
    if not isinstance(header, dict) or MARK not in parts[2]:
        raise BadTemplate(f"{path} needs a header of names and values, and a line {MARK} for the measured part")
    return header, parts[2]


def write_card(out: Path, template: str | Path, path: Path, url: str | None = None) -> list[Path]:
    """Write the filled card to `path` and a Croissant file beside it; returns both paths. url: where it is published.

    Raises `BadTemplate`; FileNotFoundError where there has been no audit.
    """
    out = Path(out)
    header, text = read_template(template)
    tables = Tables(out)
    dataset = json.loads((out / "dataset.json").read_bytes())
    kept = int(tables.numbers(["count(*) filter (outcome = 'kept')"])[0])
    header["size_categories"] = [size_category(kept)]
    filled = text.replace(MARK, measured_section(tables, out, dataset))
    card = "---\n" + yaml.safe_dump(header, sort_keys=False, allow_unicode=True) + "---\n" + filled
    write_whole(path, card.encode())
    name = str(header.get("pretty_name") or out.resolve().name)
    described = croissant(out, dataset, name, first_paragraph(text), licences(tables), url)
    beside = path.with_name(CROISSANT)
    write_whole(beside, (json.dumps(described, indent=1, ensure_ascii=False) + "\n").encode())
    return [path, beside]


def licences(tables: Tables) -> list[str]:
    """The licences of the clips that are kept, "unknown" where nobody says one."""
    rows = tables.rows(
        "select distinct coalesce(licence, 'unknown') as name from clips where outcome = 'kept' order by name"
    )
    return [row["name"] for row in rows]


def size_category(clips: int) -> str:
    """Hugging Face's class for a number of examples."""
    return next((name for limit, name in SIZES if clips < limit), "n>1T")


def first_paragraph(text: str) -> str:
    """The first paragraph of a card that is no heading, in one line."""
    blocks: Iterable[str] = (block.strip() for block in text.split("\n\n"))
    return next((" ".join(block.split()) for block in blocks if block and not block.startswith("#")), "")

