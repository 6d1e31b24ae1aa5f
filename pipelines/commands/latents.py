"""`vividpose latents`: VAE moments and CLIP embeddings of every frame, beside the shards."""

from __future__ import annotations

import argparse
import re

from pipelines.commands import Commands
from pipelines.commands.tell import tell


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"write the size as WIDTHxHEIGHT, such as 512x768; got {text!r}")
    return int(match[1]), int(match[2])


def add(commands: Commands) -> None:
    latents = commands.add_parser(
        "latents",
        help="encode every frame once, for faster training",
        description="Encode every frame of a dataset with the frozen VAE and image encoder, beside its shards. The "
        "trainer uses what fits its encoders and its size, and says so. Run it again at any time: it does only what "
        "is new.",
        epilog="exit codes: 0 done; 1 an error, or shards that could not be encoded; 3 the disk is full",
    )
    latents.add_argument("out", help="an output folder of `vividpose shards`, or its URL")
    latents.add_argument(
        "--model",
        required=True,
        help="a folder with vae/ and image_encoder/: Stable Video Diffusion's, VividPose's; or tiny",
    )
    latents.add_argument(
        "--size", type=_size, default=(512, 768), help="of the centre crop, WIDTHxHEIGHT (default: 512x768)"
    )
    latents.add_argument(
        "--precision", choices=("fp32", "bf16"), default="fp32", help="of the networks (default: fp32)"
    )
    latents.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto")
    latents.add_argument("--at-once", type=int, default=8, help="frames through the networks at a time (default: 8)")
    latents.add_argument(
        "--executor", choices=("ray", "inline"), default="ray", help="ray (default), or in this process"
    )
    latents.add_argument(
        "--workers", type=int, default=0, help="0 (default) shares out what the machine or cluster has"
    )
    latents.add_argument("--gpus", type=float, help="of a GPU that one worker takes (default: 1 where there is one)")
    latents.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from rich.console import Console

    from model.weight_files import BadFolder
    from pipelines.engine.atomic import DiskFull
    from pipelines.engine.executors import Infeasible, NoCluster
    from pipelines.engine.run_lock import BadOutput, Busy
    from pipelines.engine.setup_error import SetupError
    from pipelines.latents.run import BadRequest, run_latents
    from pipelines.latents.settings import LatentsSettings

    console = Console(stderr=True)
    names = ("model", "size", "precision", "device", "at_once", "executor", "workers", "gpus")
    try:
        done = run_latents(options.out, LatentsSettings(**{name: getattr(options, name) for name in names}))
    except DiskFull as error:
        tell(console, f"error: {error}", style="red")
        return 3
    except (BadFolder, BadOutput, BadRequest, Busy, Infeasible, NoCluster, SetupError, ValueError) as error:
        tell(console, f"error: {error}", style="red")
        return 1
    for note in done.notes:
        tell(console, f"not encoded: {note}", style="yellow")
    for failure in done.failures:
        tell(console, f"failed: {failure}", style="red")
    rate = f", {done.frames} frames now, {done.frames / done.seconds:.1f} a second of a worker" if done.seconds else ""
    where = f"{options.out}/latents/{done.key}"
    tell(Console(), f"{done.done} of {done.shards} shards have latents in {where}, {done.bytes / 1e6:.0f} MB{rate}")
    return 1 if done.failures or done.done < done.shards else 0
