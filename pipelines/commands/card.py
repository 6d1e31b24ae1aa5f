"""`vividpose card`: a dataset card and a Croissant file, filled with what the audit measured."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipelines.commands import Commands
from pipelines.commands.tell import tell


def add(commands: Commands) -> None:
    card = commands.add_parser(
        "card",
        help="write a dataset card and a Croissant file of an audited dataset",
        description="Fill a card of datasets_cards (or your own, with the line <!-- measured -->) with what "
        "`vividpose audit` measured, and write croissant.json beside it.",
    )
    card.add_argument("out", type=Path, help="an audited output folder of `vividpose shards`")
    card.add_argument("--template", default="wild", help="ubcfashion, tiktok, wild, or a file (default: wild)")
    card.add_argument("--out", dest="path", type=Path, help="where to write (default: OUT/README.md)")
    card.add_argument("--url", help="where the dataset is published, for the Croissant file")
    card.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from rich.console import Console

    from pipelines.audit.card import BadTemplate, write_card

    console = Console()
    try:
        for path in write_card(options.out, options.template, options.path or options.out / "README.md", options.url):
            tell(console, str(path))
    except (BadTemplate, FileNotFoundError) as error:
        tell(Console(stderr=True), f"error: {error}", style="red")
        return 1
    return 0
