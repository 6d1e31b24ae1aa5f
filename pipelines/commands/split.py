"""`vividpose split`: parts of a dataset that share no person, no source and no content."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipelines.commands import Commands
from pipelines.commands.local_folder import local_folder
from pipelines.commands.tell import tell


def add(commands: Commands) -> None:
    split = commands.add_parser(
        "split",
        help="make a train/test split that does not leak",
        description="Assign the clips of an audited dataset to parts. What shares a person, a source or its content "
        "stays together, so nothing can leak. Writes OUT/audit/split.parquet and the split of OUT/decisions.parquet.",
    )
    split.add_argument("out", metavar="OUT", help="a dataset that `vividpose audit` has looked through")
    split.add_argument("--parts", default="train=0.9,test=0.1", help="names and shares (default: %(default)s)")
    split.add_argument("--seed", type=int, default=0, help="breaks ties (default: 0)")
    split.add_argument("--by-uploader", action="store_true", help="clips of one uploader stay together too")
    split.add_argument("--given", type=Path, metavar="CSV", help="take this split (columns key, split) instead")
    split.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from rich.console import Console

    from pipelines.audit.base import NotADataset
    from pipelines.audit.report import show_split
    from pipelines.audit.run import AuditOptions, run_audit
    from pipelines.audit.split import ALWAYS, make_split, read_parts_argument, take_given_split
    from pipelines.engine.atomic import DiskFull
    from pipelines.engine.run_lock import BadOutput, Busy
    from pipelines.engine.setup_error import SetupError
    from pipelines.settings import BadSettings

    console = Console(stderr=True)
    try:
        out = local_folder(options.out)
        if options.given:
            number = take_given_split(out, options.given)
            tell(console, f"{number} clips are named in {options.given}")
        else:
            ties = (*ALWAYS, "uploader") if options.by_uploader else ALWAYS
            made = make_split(out, read_parts_argument(options.parts), options.seed, ties)
            show_split(made, Console())
        summary = run_audit(out, AuditOptions.of_last(out))
    except DiskFull as error:
        tell(console, f"error: {error}", style="red")
        return 3
    except (BadOutput, BadSettings, Busy, NotADataset, SetupError) as error:
        tell(console, f"error: {error}", style="red")
        return 1
    leaks = {row["name"]: row["clips"] for row in summary["findings"] if row["name"].endswith("_leak")}
    told = ", ".join(f"{name}: {clips} clips" for name, clips in leaks.items())
    tell(console, f"leaks: {told or 'none'}")
    return 0
