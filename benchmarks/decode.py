"""PyAV against decord: python -m benchmarks.decode VIDEO [VIDEO ...]

Each decoder reads each video to RGB in a process of its own: once from the first frame to the last, and 12 frames at
random places. Prints frames a second of CPU time and of the clock, and the peak resident memory. `clip` is the video
re-encoded by pipelines.video.encode and read by ClipReader, which is what every stage after ingest does; `ingest` is
the decoder as ingest uses it, at the working size and without RGB.

Frames a CPU second on a busy machine, one thread, PyAV 18.1 and decord 0.6.0, peak memory 70 to 77 MB for both:

                          1280x720, H.264               1080x1920, H.264
                          in order    at random         in order    at random
    decord                163         3.6               97          1.0
    PyAV                  205         3.5               132         1.0
    ClipReader             95        60.8               84         39.8      (a key frame every 16; exact colours)
    ingest's decoder      191          -                105          -       (at the working size)

decord also fails on AV1, raises on a truncated file instead of giving its good frames, and is no longer
maintained. It is therefore a dependency of this benchmark only. Random access depends on the key frames, not on the
library.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

SEEKS = 12


def read_decord(path: str, wanted: Sequence[int] | None) -> int:
    from decord import VideoReader, cpu

    video = VideoReader(path, ctx=cpu(0), num_threads=1)
    for index in range(len(video)) if wanted is None else wanted:
        video[index].asnumpy()
    return len(video) if wanted is None else len(wanted)


def read_pyav(path: str, wanted: Sequence[int] | None) -> int:
    import av

    count = 0
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        if wanted is None:
            for frame in container.decode(stream):
                frame.to_ndarray(format="rgb24")
                count += 1
            return count
        rate, base = stream.average_rate, stream.time_base
        assert rate is not None
        assert base is not None
        for index in wanted:
            target = round(index / rate / base) + (stream.start_time or 0)
            container.seek(target, stream=stream)
            frame = next(f for f in container.decode(stream) if f.pts is not None and f.pts >= target)
            frame.to_ndarray(format="rgb24")
            count += 1
    return count


def read_clip(path: str, wanted: Sequence[int] | None) -> int:
    from pipelines.video.reader import ClipReader

    with ClipReader(path) as reader:
        if wanted is None:
            return sum(len(chunk) for chunk in reader.chunks(16))
        for index in wanted:
            reader.frames([index])
        return len(wanted)


def read_ingest(path: str, wanted: Sequence[int] | None) -> int:
    from pipelines.video.decode import Decoder

    assert wanted is None
    return sum(1 for _ in Decoder(path))


READERS: dict[str, Callable[[str, Sequence[int] | None], int]] = {
    "decord": read_decord,
    "pyav": read_pyav,
    "clip": read_clip,
    "ingest": read_ingest,
}


def measure(reader: str, path: str, frames: int, how: str) -> None:
    """Run one case in this process and print the figures as JSON."""
    wanted = [random.Random(0).randrange(frames) for _ in range(SEEKS)] if how == "random" else None
    READERS[reader](path, wanted[:1] if wanted else None) if how == "random" else None  # imports and tables
    cpu, clock = time.process_time(), time.perf_counter()
    done = READERS[reader](path, wanted)
    cpu, clock = time.process_time() - cpu, time.perf_counter() - clock
    # Not getrusage: its peak is inherited from the parent process.
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) // 1024
    print(json.dumps({"frames": done, "cpu": done / cpu, "clock": done / clock, "megabytes": peak}))


def compare(paths: Sequence[Path]) -> None:
    from pipelines.video.decode import Decoder
    from pipelines.video.encode import encode_clip

    table = Table("video", "reader", "access", "frames", "frames / CPU s", "frames / s", "peak MB")
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            decoder = Decoder(path)
            clip = Path(folder) / f"{path.stem}.mp4"
            frames = encode_clip(clip, (picture.planes for picture in decoder), decoder.fps)
            for reader in READERS:
                for how in ("sequential",) if reader == "ingest" else ("sequential", "random"):
                    source = clip if reader == "clip" else path
                    case = [sys.executable, "-m", "benchmarks.decode", "--case", reader, how, str(frames), str(source)]
                    done = subprocess.run(case, capture_output=True, text=True)
                    cells = [path.name, reader, how]
                    if done.returncode:
                        table.add_row(*cells, "failed", (done.stderr.strip().splitlines() or ["?"])[-1][:60], "", "")
                        continue
                    figures = json.loads(done.stdout.splitlines()[-1])
                    numbers = (f"{figures['cpu']:.1f}", f"{figures['clock']:.1f}", str(figures["megabytes"]))
                    table.add_row(*cells, str(figures["frames"]), *numbers)
            table.add_section()
    Console(width=120).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--case", nargs=4, metavar=("READER", "ACCESS", "FRAMES", "PATH"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        reader, how, frames, path = arguments.case
        measure(reader, path, int(frames), how)
    elif arguments.videos:
        compare(arguments.videos)
    else:
        parser.error("name at least one video")


if __name__ == "__main__":
    main()
