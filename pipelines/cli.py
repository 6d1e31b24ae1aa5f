"""The `vividpose` command. The subcommands are in `pipelines/commands`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from pipelines.commands import (
    animate,
    audit,
    card,
    demo,
    doctor,
    evaluate,
    forget,
    groundtruth,
    inspect,
    latents,
    shards,
    split,
    status,
    weights,
)
from pipelines.engine.threads import one_thread

COMMANDS = (
    shards, animate, demo, evaluate, status, inspect, audit, split, card, latents, forget, groundtruth, weights, doctor
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand. Returns the exit code: 0 fine, 1 an error, 2 bad input met with --strict or wrong usage,
    3 the disk is full, 130 interrupted."""
    one_thread()
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING, format="%(levelname)s %(message)s")
    try:
        return options.run(options)
    except KeyboardInterrupt:
        print("interrupted; what was finished is committed, run the same command again to continue", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="vividpose", description="VividPose: videos of people to training shards, and what belongs around that."
    )
    top.add_argument("-v", "--verbose", action="store_true", help="log what happens in detail")
    commands = top.add_subparsers(dest="command", required=True, metavar="command")
    for command in COMMANDS:
        command.add(commands)
    return top


if __name__ == "__main__":
    sys.exit(main())
