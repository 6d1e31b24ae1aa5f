"""`vividpose animate`: reference pictures and driving videos in, mp4 out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.commands import Commands
from pipelines.commands.tell import tell

if TYPE_CHECKING:
    from pipelines.animate.settings import AnimateSettings
    from pipelines.animate.summary import Summary

# Options of one job that are handed on as they are.
FIELDS = ("seed", "steps", "guidance", "size", "framing", "fps", "start", "seconds", "person", "reference_person")
FLAGS = ("audio", "compare", "frames", "poses")


def add(commands: Commands) -> None:
    animate = commands.add_parser(
        "animate",
        help="animate reference pictures by driving videos",
        description="Animate the person of a picture by the motion of another one's video: one job by --reference and "
        "--driving, or many by --jobs. Run it again at any time: it continues where it was and does nothing twice.",
        epilog="exit codes: 0 done; 1 an error, or unexpected errors in some jobs (listed; tried again next time); "
        "2 a job was refused and --strict was given, or wrong usage; 3 the disk is full; 130 interrupted",
    )
    animate.add_argument("--jobs", type=Path, help="a .jsonl or .csv file, a job a line; see docs/animate.md")
    animate.add_argument("--reference", help="one job: the picture")
    animate.add_argument("--driving", help="one job: the video, shard.tar#key, or a .poses.npz file")
    animate.add_argument("--out", required=True, help="the output folder; for one job the .mp4 file")
    animate.add_argument("--model", help="a VividPose folder, or tiny (default)")
    animate.add_argument("--encoders", help="the folder with vae/ and image_encoder/, where the model has none")
    animate.add_argument("--preview", action="store_true", help="only make a sheet and cautions for each job")
    one = animate.add_argument_group("one job")
    one.add_argument("--seed", type=int)
    one.add_argument("--steps", type=int)
    one.add_argument("--guidance", help="a scale, or first:last of a window")
    one.add_argument("--size", help="WIDTHxHEIGHT the model works at")
    one.add_argument("--framing", choices=("letterbox", "crop"))
    one.add_argument("--fps", type=float, help="frames a second to take of the driving video (default: all)")
    one.add_argument("--start", type=float, help="seconds")
    one.add_argument("--seconds", type=float, help="how much of the driving video")
    one.add_argument("--person", type=int, help="of the driving video, from 1, left to right (default: the largest)")
    one.add_argument("--reference-person", type=int, help="of the picture")
    one.add_argument("--audio", action="store_true", help="keep the driving video's sound")
    one.add_argument("--compare", action="store_true", help="also a video side by side")
    one.add_argument("--frames", action="store_true", help="also PNG files")
    one.add_argument("--poses", action="store_true", help="also the driver's poses, to drive other jobs")
    animate.add_argument("--root", help="refuse inputs outside of this folder")
    animate.add_argument("--memory", help="auto (default), or the GB to plan for")
    animate.add_argument("--profile", choices=("auto", "lite", "full"), help="which estimators (default: auto)")
    animate.add_argument(
        "--executor", choices=("ray", "inline"), help="default: ray for a job file, inline for one job"
    )
    animate.add_argument("--config", type=Path, help="a YAML file of settings")
    animate.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", help="one setting; may be repeated")
    animate.add_argument("--strict", action="store_true", help="exit with 2 when a job was refused")
    animate.add_argument("--retry-quarantined", action="store_true", help="try refused jobs once more")
    animate.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from rich.console import Console

    from pipelines.animate.jobs import BadJob, BadJobFile
    from pipelines.annotate.choice import MissingWeights
    from pipelines.body.body_file import BodyFileError
    from pipelines.engine.atomic import DiskFull
    from pipelines.engine.executors import Infeasible, NoCluster
    from pipelines.engine.run_lock import BadOutput, Busy
    from pipelines.engine.setup_error import SetupError
    from pipelines.engine.storage import StorageError
    from pipelines.job.run import TooManyFailures
    from pipelines.settings import BadSettings

    console = Console(stderr=True)
    try:
        summary = _run(options, console)
    except DiskFull as error:
        tell(console, f"error: {error}", style="red")
        return 3
    except (
        BadJob,
        BadJobFile,
        BadOutput,
        BadSettings,
        BodyFileError,
        Busy,
        Infeasible,
        MissingWeights,
        NoCluster,
        SetupError,
        StorageError,
        TooManyFailures,
    ) as error:
        tell(console, f"error: {error}", style="red")
        return 1
    summary.show(Console())
    return summary.exit_code(options.strict)


def _run(options: argparse.Namespace, console: Any) -> Summary:
    from pipelines.animate.jobs import BadJob, JobLine, parse_job, read_jobs
    from pipelines.animate.run import run_animate

    settings = settings_of(options)
    common: dict[str, Any] = {
        "preview": options.preview,
        "retry_quarantined": options.retry_quarantined,
        "tell": lambda text: tell(console, text),
    }
    job = {name: value for name in FIELDS if (value := getattr(options, name)) is not None}
    job |= {name: True for name in FLAGS if getattr(options, name)}
    if options.jobs is not None:
        if options.reference or options.driving or job:
            raise BadJob(
                "bad_job", "--jobs holds whole jobs: --reference, --driving and their options go into its lines"
            )
        return run_animate(
            read_jobs(options.jobs), options.out, settings, base=options.jobs.parent.absolute(), **common
        )
    if not options.reference or not options.driving:
        raise BadJob("bad_job", "give --reference and --driving, or --jobs")
    out = Path(options.out)
    if out.suffix.lower() != ".mp4":
        raise BadJob("bad_job", f"--out {out}: for one job give the name of the .mp4 file")
    spec = parse_job({"reference": options.reference, "driving": options.driving, "name": out.stem, **job}, "job")
    # The ledger of single jobs lies beside them, so that the next one finds what was estimated already.
    work = out.parent / ".vividpose-animate"
    return run_animate([JobLine("job", spec)], out.parent, settings, base=Path.cwd(), work=work, **common)


def settings_of(options: argparse.Namespace) -> AnimateSettings:
    """The settings of a run from its options. Raises `BadSettings`."""
    from pipelines.animate.settings import AnimateSettings
    from pipelines.settings import BadSettings, build, load_yaml, over, plain, with_overrides

    data = load_yaml(options.config) if options.config else {}
    data.setdefault("executor", "ray" if getattr(options, "jobs", None) is not None else "inline")
    for name in ("profile", "executor", "root"):
        if getattr(options, name, None):
            data[name] = getattr(options, name)
    if options.model:
        data.setdefault("model", {})["folder"] = options.model
    if options.encoders:
        data.setdefault("model", {})["encoders"] = options.encoders
    if options.memory:
        try:
            budget: Any = "auto" if options.memory == "auto" else float(options.memory)
        except ValueError:
            raise BadSettings(f"--memory: expected auto or a number of GB, got {options.memory!r}") from None
        data.setdefault("memory", {})["budget_gb"] = budget
    return build(AnimateSettings, over(plain(AnimateSettings()), with_overrides(data, options.set)))
