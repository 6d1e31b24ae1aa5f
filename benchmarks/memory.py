"""The memory of the main job on a long video: every process it starts, Ray's own included.

    python -m benchmarks.memory [--minutes 10] [--video FILE] [--executor ray]

Makes a 1080p video of that length by repeating FILE (default: a demo film), runs `vividpose shards` on it and samples
the proportional set size (shared pages counted once) of the whole process tree. Ray's object store is shown apart.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path

import av
import psutil
from rich.console import Console
from rich.table import Table

from pipelines.demo import FILMS, make_demo_videos
from pipelines.engine.threads import one_thread


def long_video(path: Path, repeated: Path, minutes: float) -> int:
    """Encode `repeated` over and over at 1920x1080 (or 1080x1920) until it is long enough. Returns the frames."""
    frames, rate = 0, Fraction(25)
    with av.open(str(path), "w") as output:
        stream = None
        while stream is None or frames < minutes * 60 * rate:
            with av.open(str(repeated)) as source:
                rate = source.streams.video[0].average_rate or rate
                for frame in source.decode(video=0):
                    if stream is None:
                        stream = output.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "crf": "26"})
                        tall = frame.height > frame.width
                        stream.width, stream.height = (1080, 1920) if tall else (1920, 1080)
                        stream.pix_fmt = "yuv420p"
                    picture = frame.reformat(stream.width, stream.height, "yuv420p")
                    picture.pts, picture.time_base = frames, 1 / rate
                    output.mux(stream.encode(picture))
                    frames += 1
        output.mux(stream.encode())
    return frames


def kind(process: psutil.Process) -> str:
    """What a process of the tree is, in a word."""
    line = " ".join(process.cmdline())
    for name in ("ingest", "perceive", "body", "pack"):
        if f"MapBatches({name})" in line:
            return f"{name} actor"
    if "ray::" in line:
        return "ray itself"
    for word in ("raylet", "gcs_server", "dashboard", "runtime_env", "log_monitor", "multiprocessing.spawn"):
        if word in line:
            return {"multiprocessing.spawn": "ingest child"}.get(word, "ray itself")
    return "driver" if "pipelines.cli" in line else "ray itself" if "ray" in line else "other"


def sample(root: psutil.Process) -> tuple[Counter[str], int]:
    """(bytes by kind, bytes of the object store) of a process tree now."""
    used: Counter[str] = Counter()
    store = 0
    for process in [root, *root.children(recursive=True)]:
        try:
            name = kind(process)
            used[name] += process.memory_full_info().pss
            if name == "ray itself":
                shared = sum(m.pss for m in process.memory_maps() if m.path.startswith("/dev/shm"))
                used[name] -= shared
                store += shared
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return used, store


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--minutes", type=float, default=10)
    arguments.add_argument("--video", type=Path, help="what is repeated (default: a demo film)")
    arguments.add_argument("--executor", default="ray", choices=("ray", "inline"))
    options = arguments.parse_args()
    one_thread()
    with tempfile.TemporaryDirectory() as folder:
        repeated = options.video or make_demo_videos(Path(folder) / "demo", films=FILMS[2:3])[0]
        video = Path(folder) / "long.mp4"
        frames = long_video(video, repeated, options.minutes)
        command = [sys.executable, "-m", "pipelines.cli", "shards", str(video), "--out", str(Path(folder) / "out")]
        start = time.monotonic()
        process = subprocess.Popen([*command, "--executor", options.executor, "--profile", "lite"])
        root, peak, total, store = psutil.Process(process.pid), Counter[str](), 0, 0
        while process.poll() is None:
            try:
                used, shared = sample(root)
            except psutil.NoSuchProcess:
                break
            total, store = max(total, sum(used.values())), max(store, shared)
            for name, value in used.items():
                peak[name] = max(peak[name], value)
            time.sleep(2)
        table = Table(title=f"{frames} frames of 1080p, {time.monotonic() - start:.0f} s", title_justify="left")
        table.add_column("process")
        table.add_column("peak MB", justify="right")
        for name, value in peak.most_common():
            table.add_row(name, f"{value / 1e6:.0f}")
        table.add_row("all together, at the worst moment", f"{total / 1e6:.0f}")
        table.add_row("Ray's object store, apart", f"{store / 1e6:.0f}")
        Console().print(table)


if __name__ == "__main__":
    main()
