"""SMPLer-X from a clip on disk to a body sequence: frames a second, how busy the network is, what decoding costs.

    python -m benchmarks.smplerx                                                  # S on the CPU, 24 frames
    python -m benchmarks.smplerx --size h --device cuda --dtype bf16 --batch 64 --frames 1200 --compiled

Weights are random unless --checkpoint names a file, which changes nothing about the time; the body is a file of
SMPL-X's sizes. The clip is drawn here, or given. "busy" is the time the network runs (on a GPU by its own events) over
the time of the clock; "decoding" is the time spent waiting for frames. With --ahead the next frames are decoded in a
thread meanwhile, as the data engine does.

On two busy CPU cores, one thread, size s in float32, batch 8, 512x768: 1.8 frames/s, the network busy 97 % of the time,
decoding 1 %.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from pipelines.body.model import load_body
from pipelines.clip import Frames
from pipelines.stages.smplerx import SmplerX
from pipelines.stages.smplerx.network import Estimate, Network
from pipelines.stages.smplerx.vit import SIZES
from pipelines.video.encode import encode_clip
from pipelines.video.reader import ClipReader
from tests.body.conformance import write_smplx_file

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
CHUNK = 16


class BusyTime:
    """Runs the network and adds up how long it worked."""

    def __init__(self, run: Callable[[torch.Tensor], Estimate], cuda: bool) -> None:
        self.run, self.cuda = run, cuda
        self.spans: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self.clock = 0.0

    def __call__(self, images: torch.Tensor) -> Estimate:
        if not self.cuda:
            start = time.perf_counter()
            estimate = self.run(images)
            self.clock += time.perf_counter() - start
            return estimate
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        estimate = self.run(images)
        end.record()
        self.spans.append((begin, end))
        return estimate

    def seconds(self) -> float:
        return self.clock + sum(begin.elapsed_time(end) for begin, end in self.spans) / 1000


class Decoding:
    """The chunks of a clip, and how long was waited for them."""

    def __init__(self, path: Path, ahead: bool) -> None:
        self.path, self.ahead, self.seconds = path, ahead, 0.0

    def chunks(self) -> Iterator[Frames]:
        with ClipReader(self.path) as reader, ThreadPoolExecutor(1) as pool:
            source = reader.chunks(CHUNK)
            coming = pool.submit(next, source, None) if self.ahead else None
            while True:
                start = time.perf_counter()
                chunk = next(source, None) if coming is None else coming.result()
                self.seconds += time.perf_counter() - start
                if chunk is None:
                    return
                if coming is not None:
                    coming = pool.submit(next, source, None)
                yield chunk


def draw(path: Path, size: tuple[int, int], count: int) -> Path:
    """A clip of drifting waves, `size` (width, height)."""
    y, x = np.mgrid[: size[1], : size[0]].astype(np.float32)

    def picture(index: int) -> Frames:
        waves = [np.sin(x / 23 + y / 61 + index / 5), np.sin(y / 17 - index / 9), np.sin((x - y) / 40 + index / 7)]
        return np.round(127.5 + 100 * np.stack(waves, axis=2)).astype(np.uint8)

    encode_clip(path, (picture(index) for index in range(count)), Fraction(24))
    return path


def random_checkpoint(folder: Path, size: str) -> Path:
    torch.manual_seed(0)
    path = folder / SIZES[size].checkpoint
    torch.save({"network": Network(SIZES[size]).state_dict()}, path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="s")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=DTYPES, default="fp32")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--compiled", action="store_true", help="use torch.compile")
    parser.add_argument("--ahead", action="store_true", help="decode the next frames while the network runs")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--video", type=Path, help="a clip to read instead of a drawn one")
    options = parser.parse_args()
    cuda = torch.device(options.device).type == "cuda"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        body = load_body(write_smplx_file(folder / "SMPLX_NEUTRAL.npz"), trust_pickle=True)
        checkpoint = options.checkpoint or random_checkpoint(folder, options.size)
        estimator = SmplerX(
            checkpoint, body, options.device, DTYPES[options.dtype], options.batch, options.compiled, options.size
        )
        video = options.video or draw(folder / "clip.mp4", (512, 768), options.frames)
        with ClipReader(video) as reader:
            count = len(reader)
            height, width = reader.frames([0]).shape[1:3]
        boxes = np.tile(np.array([width * 0.2, height * 0.1, width * 0.8, height * 0.95], np.float32), (count, 1))
        estimator.estimate(np.zeros((options.batch, 256, 192, 3), np.float32))  # compiles, and wakes the GPU
        estimator.run = busy = BusyTime(estimator.run, cuda)
        decoding = Decoding(video, options.ahead)
        if cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        estimator(decoding.chunks(), boxes, (width, height))
        took = time.perf_counter() - start

    device = torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} thread(s)"
    table = Table(title=f"SMPLer-X {options.size}, {options.dtype}, batch {options.batch}, {width}x{height}: {device}")
    for column in ("frames", "seconds", "frames/s", "network busy", "decoding", "peak GPU memory"):
        table.add_column(column, justify="right")
    memory = f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB" if cuda else "-"
    table.add_row(
        str(count), f"{took:.1f}", f"{count / took:.1f}", f"{busy.seconds() / took:.0%}",
        f"{decoding.seconds / took:.0%}", memory,
    )  # fmt: skip
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
