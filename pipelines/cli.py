"""The `vividpose` command. Each subcommand imports what it needs when it runs, so that `--help` is instant."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.engine.threads import one_thread

if TYPE_CHECKING:
    from rich.console import Console


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
    _add_shards(commands)
    _add_inspect(commands)
    _add_weights(commands)
    _add_doctor(commands)
    return top


def _add_shards(commands: argparse._SubParsersAction) -> None:
    shards = commands.add_parser(
        "shards",
        help="turn videos into WebDataset shards",
        description="Turn videos into WebDataset shards. Run it again at any time: it continues where it was, does "
        "only what is new, and redoes only what a change of settings, software or weights touches.",
        epilog="exit codes: 0 done; 1 an error, or unexpected errors on some clips (listed; tried again next time); "
        "2 bad input was met and --strict was given; 3 the disk is full; 130 interrupted",
    )
    shards.add_argument(
        "src",
        nargs="?",
        help="a folder (nested), a video, a glob, a .txt file with a path or URL per line, or an fsspec URL such as "
        "s3://bucket/videos. Left out: a few demo videos are rendered and processed",
    )
    shards.add_argument("--out", type=Path, default=Path("data"), help="output folder (default: data)")
    shards.add_argument("--profile", choices=("auto", "lite", "full"), help="which estimators (default: auto)")
    shards.add_argument("--executor", choices=("ray", "inline"), help="ray (default), or inline: all in this process")
    shards.add_argument("--config", type=Path, help="a YAML file of settings; see docs/settings.md")
    shards.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", help="one setting; may be repeated")
    shards.add_argument("--strict", action="store_true", help="exit with 2 when any source or clip was quarantined")
    shards.add_argument("--retry-quarantined", action="store_true", help="try quarantined sources and clips once more")
    shards.set_defaults(run=_shards)


def _shards(options: argparse.Namespace) -> int:
    from rich.console import Console

    from pipelines.annotate.choice import MissingWeights, choose
    from pipelines.body.body_file import BodyFileError
    from pipelines.engine.atomic import DiskFull
    from pipelines.engine.executors import Infeasible, NoCluster
    from pipelines.engine.setup_error import SetupError
    from pipelines.job.intake import NoSources
    from pipelines.job.run import BadOutput, Busy, TooManyFailures, run_shards
    from pipelines.job.settings import ShardsSettings
    from pipelines.settings import BadSettings, build, load_yaml, over, plain, with_overrides

    console = Console(stderr=True)
    try:
        data = load_yaml(options.config) if options.config else {}
        for name in ("profile", "executor"):
            if getattr(options, name):
                data[name] = getattr(options, name)
        settings = build(ShardsSettings, over(plain(ShardsSettings()), with_overrides(data, options.set)))
        for choice in choose(settings.profile):
            _tell(console, f"{choice.role:<10} {choice.told}  ({choice.why})")
            for line in choice.licences:
                _tell(console, f"{'':<10} licence of {line}")
        src = options.src
        if src is None:
            from pipelines.demo import make_demo_videos

            src = str(options.out / "demo_videos")
            make_demo_videos(Path(src))
            _tell(console, f"no SRC was given: demo videos were rendered into {src}")
        summary = run_shards(src, options.out, settings, retry_quarantined=options.retry_quarantined)
    except DiskFull as error:
        _tell(console, f"error: {error}", style="red")
        return 3
    except (
        BadOutput,
        BadSettings,
        BodyFileError,
        Busy,
        Infeasible,
        MissingWeights,
        NoCluster,
        NoSources,
        SetupError,
        TooManyFailures,
    ) as error:
        _tell(console, f"error: {error}", style="red")
        return 1
    summary.show(Console())
    return summary.exit_code(options.strict)


def _tell(console: Console, text: str, style: str | None = None) -> None:
    """Print plain text as it is: no markup, no wrapping inside paths."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def _add_inspect(commands: argparse._SubParsersAction) -> None:
    inspect = commands.add_parser(
        "inspect",
        help="look into a shard: contact sheets and side-by-side videos",
        description="Write a contact sheet (PNG) and a video (mp4) per sample: frame, skeleton, rendering, overlay.",
    )
    inspect.add_argument("shard", type=Path, help="a shard (.tar), or an output folder of `vividpose shards`")
    inspect.add_argument("--key", action="append", default=[], help="only samples whose key starts so; may be repeated")
    inspect.add_argument("--limit", type=int, default=8, help="at most so many samples (default: 8)")
    inspect.add_argument("--out", type=Path, default=Path("inspect"), help="where to write (default: inspect)")
    inspect.set_defaults(run=_inspect)


def _inspect(options: argparse.Namespace) -> int:
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


def _add_weights(commands: argparse._SubParsersAction) -> None:
    weights = commands.add_parser(
        "weights",
        help="the files of the full profile: licences, where they are, how to get them",
        description="Without a subcommand: list every file that the project can use, with its licence and whether "
        "commercial use is allowed, and where it was found.",
    )
    weights.set_defaults(run=_weights, action=None)
    actions = weights.add_subparsers(dest="action", metavar="action")
    fetch = actions.add_parser("fetch", help="download a file that needs no login, and verify it")
    fetch.add_argument("name")
    fetch.add_argument("--accept-licence", action="store_true", help="the licence of the file was read and is accepted")
    fetch.set_defaults(run=_weights)
    how = actions.add_parser("how-to", help="what to do, step by step, to get a file")
    how.add_argument("name")
    how.set_defaults(run=_weights)


def _weights(options: argparse.Namespace) -> int:
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


def _add_doctor(commands: argparse._SubParsersAction) -> None:
    doctor = commands.add_parser(
        "doctor", help="what is installed, which weights are where, what each stage would get, what is missing"
    )
    doctor.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    from pipelines.doctor import examine

    return examine()


if __name__ == "__main__":
    sys.exit(main())
