"""The data stream beside plain webdataset and the raw tar read, on the same shards in one run.

    vividpose shards --out data            # or any other output folder
    python -m benchmarks.stream --data data [--clips 60] [--workers 2] [--rounds 3]

"same decode": webdataset reads whole samples from the tars, in order, and calls the function that the stream calls.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import torch
import webdataset
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader

from pipelines.body.skeleton import draw_skeleton
from pipelines.engine.atomic import digest, file_digest
from pipelines.inspect import find_shards
from pipelines.shard_format import decode_keypoints, read_tar, write_tar
from pipelines.shard_index import index_name, index_tar
from pipelines.video.crop import crop_to
from pipelines.video.reader import ClipReader
from train.stream.decode import decode_clip
from train.stream.rng import sample_rng
from train.stream.settings import ClipSettings, DataSettings, StreamSettings
from train.stream.stream import Stream

STEP = 0.28
SHARDS = 4


def multiply(source: Path, out: Path, clips: int) -> None:
    """A dataset of `clips` samples in four shards, repeating those of `source` under new keys."""
    samples = [members for shard in find_shards(source) for _, members in read_tar(shard)]
    (out / "shards").mkdir(parents=True)
    rows = []
    for number, part in enumerate(np.array_split(np.arange(clips), SHARDS)):
        tar = out / "shards" / f"bench-{number:06d}.tar"
        write_tar(tar, [(f"{n:016x}_000000", samples[n % len(samples)]) for n in part])
        row = {"name": tar.name, "sha256": file_digest(tar), "bytes": tar.stat().st_size, "samples": len(part)}
        index = index_tar(tar, tar.name, row["sha256"], row["bytes"])
        (tar.parent / index_name(tar.name)).write_bytes(index.to_json())
        rows.append(row)
    listing = {"schema": 1, "hash": digest([[row["name"], row["sha256"]] for row in rows]), "shards": rows}
    (out / "dataset.json").write_text(json.dumps(listing))


def raw_read(data: Path) -> Iterator[Any]:
    """Every byte of every sample, nothing decoded."""
    while True:
        for tar in find_shards(data):
            yield from read_tar(tar)


@dataclass
class SameDecode:
    """What a plain webdataset pipeline maps over its samples."""

    clip: ClipSettings
    count: int = 0

    def __call__(self, sample: dict[str, Any]) -> Any:
        meta = json.loads(sample["json"])
        self.count += 1
        rng = sample_rng(0, self.count, "clip")
        return decode_clip(
            sample["__key__"], sample, meta["frames"], Fraction(*meta["fps"]), self.clip, rng, self.count
        )


def plain_webdataset(data: Path, clip: ClipSettings, workers: int) -> Iterator[Any]:
    urls = [str(path) for path in find_shards(data)]
    pipeline = webdataset.WebDataset(urls, shardshuffle=False, resampled=True).map(SameDecode(clip))
    if workers == 0:
        return iter(pipeline)
    return iter(DataLoader(pipeline, batch_size=None, num_workers=workers, prefetch_factor=2))


def ours(data: Path, clip: ClipSettings, workers: int) -> Iterator[Any]:
    settings = StreamSettings(data=(DataSettings(str(data)),), clip=clip, workers=workers, start_method="fork")
    return iter(Stream(settings))


@dataclass
class Meter:
    """Samples, wall seconds and processor seconds (of this process and of its loader workers) of one way."""

    samples: Iterator[Any]
    count: int = 0
    wall: float = 0.0
    cpu: float = 0.0

    def take(self, count: int) -> None:
        wall, cpu = time.perf_counter(), _cpu()
        for _ in islice(self.samples, count):
            pass
        self.count, self.wall, self.cpu = (
            self.count + count,
            self.wall + time.perf_counter() - wall,
            self.cpu + _cpu() - cpu,
        )

    @property
    def rate(self) -> float:
        return self.count / self.wall

    @property
    def cpu_each(self) -> float:
        return self.cpu / self.count


def _cpu() -> float:
    this = psutil.Process()
    times = [process.cpu_times() for process in (this, *this.children(recursive=True))]
    return sum(used.user + used.system for used in times)


def in_turn(ways: dict[str, Callable[[], Iterator[Any]]], count: int, piece: int) -> dict[str, Meter]:
    """`count` samples of each way, `piece` at a time in turn: what else the machine does falls on all of them alike."""
    meters = {name: Meter(make()) for name, make in ways.items()}
    for meter in meters.values():
        for _ in islice(meter.samples, 3):
            pass
    for _ in range(0, count, piece):
        for meter in meters.values():
            meter.take(piece)
    return meters


def alone(make: Callable[[], Iterator[Any]], count: int) -> Meter:
    """`count` samples of one way whose workers read ahead all the time, so that it cannot take turns."""
    meter = Meter(make())
    for _ in islice(meter.samples, 8):
        pass
    meter.take(count)
    return meter


def waits(samples: Iterator[Any], steps: int) -> list[float]:
    """How long each of `steps` steps of `STEP` seconds, which leave the processor alone, waited for its batch."""
    for _ in islice(samples, 4):
        pass
    waited = []
    for _ in range(steps):
        time.sleep(STEP)
        begin = time.perf_counter()
        next(samples)
        waited.append(time.perf_counter() - begin)
    return waited


def parts(data: Path, clip: ClipSettings, repeats: int = 30) -> dict[str, float]:
    """Processor milliseconds of each part of a sample, medians over the first clips."""
    spent: dict[str, list[float]] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        begin = time.process_time()
        result = work()
        spent.setdefault(name, []).append((time.process_time() - begin) * 1000)
        return result

    for (_, members), number in zip(raw_read(data), range(repeats)):
        keypoints = timed("key points", lambda m=members: decode_keypoints(m["pose.npz"]))
        rng = np.random.default_rng(number)
        length = len(keypoints)
        start = int(rng.integers(0, length - clip.frames + 1))
        chosen = [*range(start, start + clip.frames), int(rng.integers(length))]
        frames = timed("frames and reference", lambda m=members, c=chosen: ClipReader(m["video.mp4"]).frames(c))
        timed("rendering", lambda m=members, c=chosen: ClipReader(m["render.mp4"]).frames(c[:-1]))
        crop = crop_to((frames.shape[2], frames.shape[1]), clip.size)
        timed("crop and resize, twice", lambda f=frames, c=crop: (c.pictures(f), c.pictures(f[:-1])))
        points = crop.points(keypoints.points[chosen[:-1]])
        scores = keypoints.scores[chosen[:-1]]
        timed("skeletons", lambda p=points, s=scores: [draw_skeleton(a, b, clip.size) for a, b in zip(p, s)])
    return {name: statistics.median(values) for name, values in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="an output folder of `vividpose shards`")
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", default="512x768")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    clip, many = ClipSettings(size=(width, height)), options.workers
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="This DataLoader will create")
    cv2.setNumThreads(1)  # a pool of threads does not survive the fork into webdataset's workers
    console = Console(width=110)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        multiply(options.data, data, options.clips)
        names = ("plain webdataset, same decode", "stream")
        meters = in_turn(
            {
                "raw tar read": lambda: raw_read(data),
                f"{names[0]}, in process": lambda: plain_webdataset(data, clip, 0),
                f"{names[1]}, in process": lambda: ours(data, clip, 0),
            },
            options.clips,
            5,
        )
        ratios = {"in process": [meters[f"{names[1]}, in process"].rate / meters[f"{names[0]}, in process"].rate]}
        cpu = {name: [meter.cpu_each] for name, meter in meters.items()}
        rates = {name: [meter.rate] for name, meter in meters.items()}
        for _ in range(options.rounds):
            plain = alone(lambda: plain_webdataset(data, clip, many), options.clips // 2)
            stream = alone(lambda: ours(data, clip, many), options.clips // 2)
            ratios.setdefault(f"{many} workers", []).append(stream.rate / plain.rate)
            for name, meter in zip(names, (plain, stream)):
                rates.setdefault(f"{name}, {many} workers", []).append(meter.rate)
                cpu.setdefault(f"{name}, {many} workers", []).append(meter.cpu_each)
        table = Table(title=f"clips of {clip.frames} frames, {width}x{height}, {os.cpu_count()} cores")
        for column in ("way", "samples/s", "CPU ms/sample"):
            table.add_column(column, justify="left" if column == "way" else "right")
        for name in rates:
            table.add_row(name, f"{statistics.median(rates[name]):.2f}", f"{statistics.median(cpu[name]) * 1000:.1f}")
        console.print(table)
        for what, found in ratios.items():
            told = ", ".join(f"{ratio:.2f}" for ratio in found)
            console.print(f"stream / plain webdataset, samples/s, {what}: {told}")
        spent = parts(data, clip)
        console.print("CPU ms a sample: " + ", ".join(f"{name} {value:.1f}" for name, value in spent.items()))
        each = cpu["stream, in process"][0]
        console.print(
            f"four cores of loader workers: a sample each {each / 4:.3f} s for a step of {STEP} s (batch 1): "
            f"wait {max(0.0, each / 4 - STEP):.3f} s by processor time"
        )
        waited = waits(ours(data, clip, 4), 40)
        console.print(
            f"measured with 4 workers on {os.cpu_count()} cores, 40 steps of {STEP} s: wait mean "
            f"{statistics.mean(waited) * 1000:.1f} ms, median {statistics.median(waited) * 1000:.1f} ms, "
            f"worst {max(waited) * 1000:.1f} ms"
        )


if __name__ == "__main__":
    main()
