"""`vividpose evaluate`: results against the truth, as the tables of this field; and the splits of its datasets."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.commands import Commands
from pipelines.commands.tell import tell

if TYPE_CHECKING:
    from rich.console import Console

DATASETS = ("generic", "tiktok", "ubc")


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None or 0 in (int(match[1]), int(match[2])):
        raise argparse.ArgumentTypeError(f"write the size as WIDTHxHEIGHT, such as 256x256; got {text!r}")
    return int(match[1]), int(match[2])


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def add(commands: Commands) -> None:
    evaluate = commands.add_parser(
        "evaluate",
        help="results against the truth: L1, PSNR, SSIM, LPIPS, FID, FID-VID, FVD, KID, faces, poses, steadiness",
        description="Compare two folders of videos (mp4 and the like, folders of frames, .npy arrays) that hold the "
        "same names, and write tables and a page. With --split: check a dataset's layout and write its train and test "
        "lists.",
        epilog="exit codes: 0 fine (numbers that need absent files are told as absent); 1 an error; 3 disk full",
    )
    evaluate.add_argument("generated", type=Path, metavar="GENERATED", help="the results; with --split: the dataset")
    evaluate.add_argument("truth", type=Path, nargs="?", metavar="TRUTH", help="the true videos")
    evaluate.add_argument("--out", type=Path, required=True, metavar="OUT", help="where tables, page or lists go")
    evaluate.add_argument("--dataset", choices=DATASETS, default="generic", help="which published tables stand beside")
    evaluate.add_argument("--split", action="store_true", help="only check the dataset GENERATED and split it")
    evaluate.add_argument("--method", default="ours", help="the name of the results in the tables")
    evaluate.add_argument("--protocol", type=_names, default=("disco", "corrected"), help="default: disco,corrected")
    evaluate.add_argument("--metrics", type=_names, default=(), metavar="A,B", help="default: all")
    evaluate.add_argument("--size", type=_size, metavar="WxH", help="resize both sides first (default: as they are)")
    evaluate.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    evaluate.add_argument("--executor", choices=("inline", "ray"), default="inline", help="default: inline")
    evaluate.add_argument("--workers", type=int, default=0, help="with ray; 0 (default) shares out what there is")
    evaluate.add_argument("--resamples", type=int, default=1000, help="draws of videos for intervals of means")
    evaluate.add_argument("--statistic-resamples", type=int, default=30, help="the same for FID, FVD and KID; 0: none")
    evaluate.add_argument("--allow-constant", action="store_true", help="measure videos whose frames are all equal")
    evaluate.add_argument("--allow-torchscript", action="store_true",
                          help="run the program in i3d_torchscript.pt; see docs/evaluation.md")  # fmt: skip
    evaluate.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from rich.console import Console

    from pipelines.engine.atomic import DiskFull
    from pipelines.engine.executors import Infeasible, NoCluster
    from pipelines.engine.setup_error import SetupError
    from pipelines.evaluate.datasets.layout import BadLayout
    from pipelines.evaluate.protocols import UnknownMeasure
    from pipelines.evaluate.run import BadRequest
    from pipelines.evaluate.sources import BadInput
    from pipelines.settings import BadSettings

    console = Console(stderr=True)
    try:
        return _split(options) if options.split else _evaluate(options, console)
    except DiskFull as error:
        tell(console, f"error: {error}", style="red")
        return 3
    except (BadInput, BadLayout, BadRequest, BadSettings, Infeasible, NoCluster, SetupError, UnknownMeasure) as error:
        tell(console, f"error: {error}", style="red")
        return 1


def _split(options: argparse.Namespace) -> int:
    from rich.console import Console

    from pipelines.evaluate.datasets.split import split_dataset

    for line in split_dataset(options.dataset, options.generated, options.out):
        tell(Console(), line)
    return 0


def _evaluate(options: argparse.Namespace, console: Console) -> int:
    from rich.console import Console as Output
    from rich.progress import Progress

    from pipelines.evaluate.aggregate import Resampling
    from pipelines.evaluate.report.tables import show
    from pipelines.evaluate.report.write import write_reports
    from pipelines.evaluate.run import BadRequest, Request, evaluate

    if options.truth is None:
        raise BadRequest("two folders are compared: vividpose evaluate GENERATED TRUTH --out OUT")
    request = Request(
        options.generated, options.truth, options.out, options.method, options.dataset, options.protocol,
        options.metrics, options.size, options.device, options.executor, options.workers, options.allow_torchscript,
        options.allow_constant, Resampling(options.resamples, options.statistic_resamples),
    )  # fmt: skip
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("evaluate: videos", total=None)
        done = evaluate(request, lambda ready, total: progress.update(task, completed=ready, total=total))
    written = write_reports(done)
    for number in done.numbers:
        value = show(number.metric, number.protocol, number.value)
        told = f"absent: {number.reason}" if number.value is None else f"{number.videos} videos, {number.frames} frames"
        tell(Output(), f"{number.title:<26} {number.protocol:<10} {value:>10}  {told}")
    for note in done.notes:
        tell(console, note, style="yellow")
    tell(Output(), f"page: {written['index.html']}")
    return 0
