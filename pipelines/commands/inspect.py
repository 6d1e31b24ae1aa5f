"""`vividpose inspect`: look into a shard."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipelines.commands import Commands


def add(commands: Commands) -> None:
    inspect = commands.add_parser(
        "inspect",
        help="look into a shard: contact sheets and side-by-side videos",
        description="Write a contact sheet (PNG) and a video (mp4) per sample: frame, skeleton, rendering, overlay.",
    )
    inspect.add_argument("shard", type=Path, help="a shard (.tar), or an output folder of `vividpose shards`")
    inspect.add_argument("--key", action="append", default=[], help="only samples whose key starts so; may be repeated")
    inspect.add_argument("--limit", type=int, default=8, help="at most so many samples (default: 8)")
    inspect.add_argument("--out", type=Path, default=Path("inspect"), help="where to write (default: inspect)")
    inspect.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from pipelines.inspect import inspect_shards
    from pipelines.shard_format import BadSample

    try:
        written = inspect_shards(options.shard, options.out, options.key, options.limit)
    except (BadSample, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path in written:
        print(path)
    return 0
