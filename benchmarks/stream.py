"""The data stream beside plain webdataset and the raw tar read, on the same shards in one run.

    vividpose shards --out data            # or any other output folder
    python -m benchmarks.stream --data data [--clips 120] [--workers 2] [--rounds 3]

"same decode": webdataset reads whole samples from the tars, in order, and calls the function that the stream calls.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
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


def rate(samples: Iterator[Any], warm: int, seconds: float) -> tuple[float, float]:
    """(samples a second, processor seconds of this process a sample)."""
    for _ in islice(samples, warm):
        pass
    count, wall, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        next(samples)
        count += 1
    return count / (time.perf_counter() - wall), (time.process_time() - cpu) / count


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
    parser.add_argument("--clips", type=int, default=120)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument("--size", default="512x768")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    clip, many = ClipSettings(size=(width, height)), options.workers
    torch.set_num_threads(1)
    console = Console(width=110)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        multiply(options.data, data, options.clips)
        ways: dict[str, Callable[[], Iterator[Any]]] = {
            "raw tar read": lambda: raw_read(data),
            "plain webdataset, same decode, in process": lambda: plain_webdataset(data, clip, 0),
            "stream, in process": lambda: ours(data, clip, 0),
            f"plain webdataset, same decode, {many} workers": lambda: plain_webdataset(data, clip, many),
            f"stream, {many} workers": lambda: ours(data, clip, many),
        }
        measured: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, make in ways.items():
                samples = make()
                measured[name].append(rate(samples, 3, options.seconds))
                del samples
        table = Table(
            title=f"clips of {clip.frames} frames, {width}x{height}, {os.cpu_count()} cores; medians of rounds"
        )
        for column in ("way", "samples/s", "best round", "CPU ms/sample"):
            table.add_column(column, justify="left" if column == "way" else "right")
        for name, rounds in measured.items():
            rates = [one for one, _ in rounds]
            cpu = statistics.median(used for _, used in rounds) * 1000
            told = f"{cpu:.1f}" if "workers" not in name else "-"
            table.add_row(name, f"{statistics.median(rates):.2f}", f"{max(rates):.2f}", told)
        console.print(table)
        pairs = [("in process", 1, 2), (f"{many} workers", 3, 4)]
        names = list(measured)
        for what, plain, stream in pairs:
            ratios = [b / a for (a, _), (b, _) in zip(measured[names[plain]], measured[names[stream]])]
            told = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            console.print(
                f"stream / plain webdataset, {what}: {told} (each round), median {statistics.median(ratios):.2f}"
            )
        spent = parts(data, clip)
        console.print("CPU ms a sample: " + ", ".join(f"{name} {value:.1f}" for name, value in spent.items()))
        alone = statistics.median(used for _, used in measured["stream, in process"])
        console.print(
            f"four cores of loader workers: a sample each {alone / 4:.3f} s for a step of {STEP} s (batch 1): "
            f"wait {max(0.0, alone / 4 - STEP):.3f} s by processor time"
        )
        waited = waits(ours(data, clip, 4), 40)
        console.print(
            f"measured with 4 workers on {os.cpu_count()} cores, 40 steps of {STEP} s: wait mean "
            f"{statistics.mean(waited) * 1000:.1f} ms, median {statistics.median(waited) * 1000:.1f} ms, "
            f"worst {max(waited) * 1000:.1f} ms"
        )


if __name__ == "__main__":
    main()
