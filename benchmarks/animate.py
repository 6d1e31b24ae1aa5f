"""Memory and time of `vividpose animate`: a short and a long driver in one run; the counts that memory is planned by.

    python -m benchmarks.animate length --reference a.png --driving b.mp4 [--seconds 5 180] [--fps 8] [--model tiny]
        [--poses]
    python -m benchmarks.animate counts [--model vividpose]
    python -m benchmarks.animate share

length: the first two seconds of the driver, played back and forth for as long as is asked. Each length is one job, all
of it in one process (what it starts apart: the child that reads foreign files); the kernel tells the largest peak of
the two. --poses: the two seconds' poses are played instead, so that what is measured is drawing, sampling, decoding and
encoding without the estimators and the fit.
counts: every tensor that lives at once in a forward pass, on tensors without memory, in the units of
`pipelines.animate.memory`.
share: the floating point operations of a long video's frame by part, at the published size, 512x768.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from pipelines.animate.pose_file import pack_poses, read_poses
from pipelines.animate.spans import part_of_body, part_of_keypoints
from pipelines.video.decode import Decoder
from pipelines.video.encode import ClipWriter
from pipelines.video.probe import probe


def animate(out: Path, options: argparse.Namespace, driving: Path, *more: str) -> tuple[float, dict[str, Any]]:
    """(peak resident MB of the process, the job's JSON)."""
    command = [sys.executable, "-m", "pipelines.cli", "animate", "--reference", str(options.reference)]
    command += ["--driving", str(driving), "--out", str(out), "--model", options.model, "--profile", "lite"]
    command += ["--executor", "inline", "--steps", str(options.steps), *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return used.ru_maxrss / 1024, json.loads(out.with_suffix(".json").read_text())


def back_and_forth(frames: int, count: int) -> np.ndarray:
    """(count,) numbers of frames: 0 1 2 1 0 1 ..., so that nothing jumps."""
    rows = np.arange(count) % max(1, 2 * (frames - 1))
    return np.where(rows < frames, rows, 2 * (frames - 1) - rows)


def long_video(target: Path, source: Path, seconds: float, fps: float) -> None:
    """The beginning of a video back and forth, in our own encoding."""
    decoder = Decoder(source, probe(source))
    step = max(1, round(float(decoder.fps) / fps))
    kept = list(islice(decoder, 0, int(2 * decoder.fps), step))
    rate = decoder.fps / step
    with ClipWriter(target, kept[0].size, rate) as writer:
        for row in back_and_forth(len(kept), max(1, round(seconds * rate))):
            writer.write(kept[row].planes)


def long_poses(target: Path, options: argparse.Namespace, seconds: float) -> None:
    """The poses of the driver's beginning back and forth; they are estimated once, beside the target."""
    first = target.parent / "first.poses.npz"
    if not first.exists():
        few = ("--seconds", "2", "--fps", str(options.fps), "--poses")
        animate(target.parent / "first.mp4", options, options.driving, *few)
    keypoints, body, rate = read_poses(first)
    rows = back_and_forth(len(body), max(1, round(seconds * rate)))
    target.write_bytes(pack_poses(part_of_keypoints(keypoints, rows), part_of_body(body, rows), rate))


def length(options: argparse.Namespace) -> None:
    table = Table(
        title=f"{options.model}, {options.steps} steps, {options.fps:g} frames a second", title_justify="left"
    )
    for column in (
        "driver",
        "frames",
        "peak MB",
        "estimate s",
        "render s",
        "wait s",
        "sample s",
        "decode s",
        "encode s",
        "sample share",
    ):
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for seconds in options.seconds:
            if options.poses:
                driver = folder / f"{seconds:g}.poses.npz"
                long_poses(driver, options, seconds)
            else:
                driver = folder / f"{seconds:g}.driver.mp4"
                long_video(driver, options.driving, seconds, options.fps)
            peak, told = animate(folder / f"{seconds:g}.mp4", options, driver)
            spent = told["seconds"]
            share = spent["sample"] / max(spent["sample"] + spent["decode"], 1e-9)
            parts = [f"{spent[part]:.1f}" for part in ("estimate", "render", "wait", "sample", "decode", "encode")]
            table.add_row(f"{seconds:g} s", str(told["result"]["frames"]), f"{peak:.0f}", *parts, f"{share:.0%}")
            print(f"{seconds:g} s: peak {peak:.0f} MB", flush=True)
    Console(width=140).print(table)


def counts(options: argparse.Namespace) -> None:
    from benchmarks.animate_counts import count

    table = Table(title=f"{options.model}: live tensors at the peak", title_justify="left")
    for column in ("part", "MB", "units of pipelines.animate.memory"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for part, size, units in count(options.model):
        table.add_row(part, f"{size / 1e6:.1f}", f"{units:.2f}")
    Console().print(table)


def share(options: argparse.Namespace) -> None:
    from benchmarks.model_counts import counted
    from model.config import load_config

    del options
    config = load_config("vividpose")
    found = {name.removeprefix("TFLOP: "): value for name, value in counted(config).items()}
    window, overlap, decoded, context = config.unet.num_frames, 4, config.unet.num_frames, 2  # as memory=auto plans it
    unet = found["UNet, reference and identity"] / (window - overlap)
    decode = found["VAE decodes 14 frames"] / 14 * decoded / (decoded - 2 * context)
    pose = found["pose encoders"] / 14
    once = found["ReferenceNet"] + found["CLIP, one picture"] + 2 * found["VAE encodes a frame"]
    table = Table(title="TFLOP of a frame of 512x768, counted", title_justify="left")
    for column in ("steps", "guidance", "UNet", "pose encoders", "decoding", "sampling's share"):
        table.add_column(column, justify="right")
    for steps in (25, 10):
        for halves, guidance in ((2, "yes"), (1, "no")):
            sampled = unet * steps * halves
            part = (sampled + pose) / (sampled + pose + decode)
            table.add_row(str(steps), guidance, f"{sampled:.1f}", f"{pose:.2f}", f"{decode:.2f}", f"{part:.1%}")
    Console().print(table)
    Console().print(f"once for a video, whatever its length: {once:.1f} TFLOP (ReferenceNet, CLIP, the VAE's encoder)")


def main() -> None:
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = top.add_subparsers(dest="what", required=True)
    lengths = what.add_parser("length")
    lengths.add_argument("--reference", type=Path, required=True)
    lengths.add_argument("--driving", type=Path, required=True)
    lengths.add_argument("--seconds", type=float, nargs="+", default=[5.0, 180.0])
    lengths.add_argument("--fps", type=float, default=8.0)
    lengths.add_argument("--steps", type=int, default=2)
    lengths.add_argument("--model", default="tiny")
    lengths.add_argument("--poses", action="store_true", help="play poses, not a video")
    lengths.set_defaults(run=length)
    counted = what.add_parser("counts")
    counted.add_argument("--model", default="vividpose", choices=("tiny", "vividpose"))
    counted.set_defaults(run=counts)
    what.add_parser("share").set_defaults(run=share)
    options = top.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
