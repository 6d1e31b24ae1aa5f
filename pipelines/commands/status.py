"""`vividpose status`: how far a run is, from the files it writes."""

from __future__ import annotations

import argparse

from pipelines.commands import Commands


def add(commands: Commands) -> None:
    status = commands.add_parser(
        "status",
        help="how far a run is and what became of the units, without Ray or a dashboard",
        description="Read the work folder of an output of `vividpose shards`, during a run or after, on any machine.",
    )
    status.add_argument("out", nargs="?", default="data", help="the output folder or URL (default: data)")
    status.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    status.add_argument("--watch", type=float, metavar="SECONDS", help="print again every so many seconds")
    status.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    import json
    import sys
    import time

    from rich.console import Console

    from pipelines.engine.storage import StorageError
    from pipelines.job.status import NoDataset, read_status, show_status

    while True:
        try:
            status = read_status(options.out)
        except (NoDataset, StorageError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        if options.json:
            print(json.dumps(status.to_json()))
        else:
            show_status(status, Console())
        if not options.watch:
            return 0
        time.sleep(options.watch)
