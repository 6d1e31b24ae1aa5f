"""`vividpose groundtruth`: a benchmark in which everything is known."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

from pipelines.commands import Commands
from pipelines.commands.tell import tell


def add(commands: Commands) -> None:
    top = commands.add_parser(
        "groundtruth",
        help="make a benchmark in which everything is known",
        description="Films of drawn people with the truth about them: who it is, shape, motion, camera, and what each "
        "pixel shows. See docs/groundtruth.md.",
    )
    steps = top.add_subparsers(dest="step", required=True, metavar="step")
    make = steps.add_parser("make", help="film the clips", description="Film the clips. Run again, it goes on.")
    make.add_argument("out", metavar="OUT", help="the folder of the benchmark")
    make.add_argument("--seed", type=int, default=0, help="everything is drawn from it (default: 0)")
    make.add_argument("--train-people", type=int, default=40, metavar="N", help="default: 40")
    make.add_argument("--test-people", type=int, default=8, metavar="N", help="default: 8")
    make.add_argument("--clips-per-person", type=int, default=6, metavar="N", help="default: 6")
    make.add_argument("--frames", type=int, default=32, metavar="T", help="of every clip (default: 32)")
    make.add_argument("--size", type=int, default=256, help="pixels, 64 to 512, square (default: 256)")
    make.add_argument("--fps", default="12", help="frames a second (default: 12); 30000/1001 is understood")
    make.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: 1)")
    make.set_defaults(run=run, work=_make)
    identities = steps.add_parser(
        "identities",
        help="put the known identity codes into shards",
        description="Put the known identity codes into shards that `vividpose shards` made of the films.",
    )
    identities.add_argument("out", metavar="OUT", help="the folder of the benchmark")
    identities.add_argument("shards", type=Path, metavar="SHARDS", help="the OUT of `vividpose shards`")
    identities.set_defaults(run=run, work=_identities)
    cross = steps.add_parser(
        "cross",
        help="film person A doing B's motion",
        description="Film person A doing B's motion, as truth, into OUT/cross.",
    )
    cross.add_argument("out", metavar="OUT", help="the folder of the benchmark")
    cross.add_argument("--pairs", type=int, default=16, metavar="N", help="default: 16")
    cross.add_argument("--split", choices=("train", "test"), default="test", help="whose people (default: test)")
    cross.set_defaults(run=run, work=_cross)


def run(options: argparse.Namespace) -> int:
    from rich.console import Console

    from pipelines.engine.atomic import DiskFull
    from pipelines.engine.run_lock import BadOutput, Busy
    from pipelines.engine.setup_error import SetupError
    from pipelines.engine.storage import is_object_url

    console = Console(stderr=True)
    try:
        if is_object_url(str(options.out)):
            raise SetupError(f"OUT: expected a folder on this machine, got {options.out}")
        options.out = Path(options.out)
        for line in options.work(options):
            tell(console, line)
    except DiskFull as error:
        tell(console, f"error: {error}", style="red")
        return 3
    except (BadOutput, Busy, SetupError) as error:
        tell(console, f"error: {error}", style="red")
        return 1
    return 0


def _make(options: argparse.Namespace) -> list[str]:
    from pipelines.engine.setup_error import SetupError
    from pipelines.groundtruth.make import CLIPS, make_groundtruth
    from pipelines.groundtruth.settings import GroundTruthSettings

    try:
        fps = Fraction(options.fps)
    except (ValueError, ZeroDivisionError):
        raise SetupError(f"--fps: expected a number or a fraction such as 30000/1001, got {options.fps!r}") from None
    if options.workers < 1:
        raise SetupError(f"--workers: expected 1 or more, got {options.workers}")
    settings = GroundTruthSettings(
        options.seed, options.train_people, options.test_people, options.clips_per_person, options.frames,
        options.size, fps,
    )  # fmt: skip
    truth = make_groundtruth(options.out, settings, options.workers)
    return [f"{len(truth['clips'])} clips of {len(truth['people'])} people: {options.out / CLIPS}"]


def _identities(options: argparse.Namespace) -> list[str]:
    from pipelines.groundtruth.people import CODE_NAME
    from pipelines.groundtruth.shards import write_identities

    count = write_identities(options.out, options.shards)
    return [f"{count} samples of {options.shards} have the {CODE_NAME}"]


def _cross(options: argparse.Namespace) -> list[str]:
    from pipelines.engine.setup_error import SetupError
    from pipelines.groundtruth.cross import PAIRS, film_pairs

    if options.pairs < 1:
        raise SetupError(f"--pairs: expected 1 or more, got {options.pairs}")
    listed = film_pairs(options.out, options.split, options.pairs)
    return [f"{len(listed['pairs'])} pairs: {options.out / PAIRS}"]
