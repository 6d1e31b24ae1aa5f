"""`vividpose weights`: the files of the full profile."""

from __future__ import annotations

import argparse
import sys

from pipelines.commands import Commands


def add(commands: Commands) -> None:
    weights = commands.add_parser(
        "weights",
        help="the files of the full profile: licences, where they are, how to get them",
        description="Without a subcommand: list every file that the project can use, with its licence and whether "
        "commercial use is allowed, and where it was found.",
    )
    weights.set_defaults(run=run, action=None)
    actions = weights.add_subparsers(dest="action", metavar="action")
    fetch = actions.add_parser("fetch", help="download a file that needs no login, and verify it")
    fetch.add_argument("name")
    fetch.add_argument("--accept-licence", action="store_true", help="the licence of the file was read and is accepted")
    fetch.set_defaults(run=run)
    how = actions.add_parser("how-to", help="what to do, step by step, to get a file")
    how.add_argument("name")
    how.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from pipelines.weights_fetch import FetchError, fetch, how_to, list_weights

    try:
        if options.action == "fetch":
            fetch(options.name, accept_licence=options.accept_licence)
        elif options.action == "how-to":
            print(how_to(options.name))
        else:
            from pipelines.doctor import show_weights, wide_console

            show_weights(wide_console(), list_weights())
    except FetchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
