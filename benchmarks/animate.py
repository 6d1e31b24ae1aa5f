"""Memory and time of `vividpose animate`: a short and a long driver in one run; the counts that memory is planned by.

    python -m benchmarks.animate length --reference a.png --driving b.mp4 [--seconds 5 180] [--fps 8] [--model tiny]
    python -m benchmarks.animate counts [--model vividpose]

length: the driver's poses are estimated once, then played back and forth for as long as is asked, so that what is
measured is drawing, sampling, decoding and encoding. Each length runs in a process of its own; the kernel tells the
peak.
counts: every tensor that lives at once in a forward pass, on tensors without memory, in the units of
`pipelines.animate.memory`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from pipelines.animate.pose_file import pack_poses, read_poses
from pipelines.animate.spans import part_of_body, part_of_keypoints


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


def length(options: argparse.Namespace) -> None:
    table = Table(
        title=f"{options.model}, {options.steps} steps, {options.fps:g} frames a second", title_justify="left"
    )
    for column in (
        "driver",
        "frames",
        "peak MB",
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
        animate(folder / "first.mp4", options, options.driving, "--seconds", "2", "--fps", str(options.fps), "--poses")
        keypoints, body, rate = read_poses(folder / "first.poses.npz")
        for seconds in options.seconds:
            count = max(1, round(seconds * rate))
            rows = np.arange(count) % max(1, 2 * (len(body) - 1))
            rows = np.where(rows < len(body), rows, 2 * (len(body) - 1) - rows)
            poses = folder / f"{seconds:g}.poses.npz"
            poses.write_bytes(pack_poses(part_of_keypoints(keypoints, rows), part_of_body(body, rows), Fraction(rate)))
            peak, told = animate(folder / f"{seconds:g}.mp4", options, poses)
            spent = told["seconds"]
            share = spent["sample"] / max(spent["sample"] + spent["decode"], 1e-9)
            parts = [f"{spent[part]:.1f}" for part in ("render", "wait", "sample", "decode", "encode")]
            table.add_row(f"{seconds:g} s", str(told["result"]["frames"]), f"{peak:.0f}", *parts, f"{share:.0%}")
    Console(width=140).print(table)


def counts(options: argparse.Namespace) -> None:
    from benchmarks.animate_counts import count

    table = Table(title=f"{options.model}: live tensors at the peak", title_justify="left")
    for column in ("part", "MB", "units of pipelines.animate.memory"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for part, size, units in count(options.model):
        table.add_row(part, f"{size / 1e6:.1f}", f"{units:.2f}")
    Console().print(table)


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
    lengths.set_defaults(run=length)
    counted = what.add_parser("counts")
    counted.add_argument("--model", default="vividpose", choices=("tiny", "vividpose"))
    counted.set_defaults(run=counts)
    options = top.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
