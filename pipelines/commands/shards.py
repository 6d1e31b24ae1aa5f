"""`vividpose shards`: videos to WebDataset shards."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipelines.commands import Commands
from pipelines.commands.tell import tell


def add(commands: Commands) -> None:
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
    shards.add_argument("--out", default="data", help="output folder or URL (s3://bucket/data); default: data")
    shards.add_argument("--profile", choices=("auto", "lite", "full"), help="which estimators (default: auto)")
    shards.add_argument("--executor", choices=("ray", "inline"), help="ray (default), or inline: all in this process")
    shards.add_argument("--config", type=Path, help="a YAML file of settings; see docs/settings.md")
    shards.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", help="one setting; may be repeated")
    shards.add_argument("--strict", action="store_true", help="exit with 2 when any source or clip was quarantined")
    shards.add_argument("--retry-quarantined", action="store_true", help="try quarantined sources and clips once more")
    shards.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from rich.console import Console

    from pipelines.annotate.choice import MissingWeights, choose
    from pipelines.body.body_file import BodyFileError
    from pipelines.engine.atomic import DiskFull
    from pipelines.engine.executors import Infeasible, NoCluster
    from pipelines.engine.run_lock import BadOutput, Busy
    from pipelines.engine.scratch import scratch_folder
    from pipelines.engine.setup_error import SetupError
    from pipelines.engine.storage import is_object_url
    from pipelines.job.intake import NoSources
    from pipelines.job.run import TooManyFailures, run_shards
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
            tell(console, f"{choice.role:<10} {choice.told}  ({choice.why})")
            for line in choice.licences:
                tell(console, f"{'':<10} licence of {line}")
        src = options.src
        if src is None:
            from pipelines.demo import make_demo_videos

            src = str(scratch_folder("demo") if is_object_url(options.out) else Path(options.out, "demo_videos"))
            make_demo_videos(Path(src))
            tell(console, f"no SRC was given: demo videos were rendered into {src}")
        summary = run_shards(src, options.out, settings, retry_quarantined=options.retry_quarantined)
    except DiskFull as error:
        tell(console, f"error: {error}", style="red")
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
        tell(console, f"error: {error}", style="red")
        return 1
    summary.show(Console())
    return summary.exit_code(options.strict)
