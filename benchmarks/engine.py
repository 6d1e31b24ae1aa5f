"""The data engine, stage by stage on one core, each beside its plain alternative; then end to end; then bytes.

    python -m benchmarks.engine [--videos FOLDER] [--frames 96]

Without --videos the demo videos are rendered first. Times are CPU seconds of this process for single stages, so that
other work on the machine does not count, and wall seconds for the run from end to end.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import onnxruntime
from PIL import Image
from rich.console import Console
from rich.table import Table

from pipelines.annotate.keypoints import read_keypoints
from pipelines.body.fit import fit_sequence
from pipelines.body.model import load_body
from pipelines.body.raster import Mesh, Rasteriser
from pipelines.body.raster_pyrender import PyrenderRasteriser
from pipelines.body.skeleton import draw_skeleton
from pipelines.clip import Keypoints
from pipelines.demo import make_demo_videos
from pipelines.engine.ledger import Ledger
from pipelines.job.run import run_shards
from pipelines.job.settings import ShardsSettings
from pipelines.job.summary import Summary
from pipelines.shard_format import Sample, read_shard
from pipelines.stages.keypoints_blazepose import BlazePoseWholeBody
from pipelines.stages.people import PeopleConfig, PeopleFilter
from pipelines.video.reader import ClipReader, MapsReader

Row = tuple[str, str, float, float, str]


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def stage_rows(sample: Sample, keypoints: Keypoints, frames: int) -> Iterator[Row]:
    """(stage, alternative, our frames/s, the alternative's frames/s, what differs)."""
    with ClipReader(sample.video) as reader:
        pictures = reader.frames(range(min(frames, len(reader))))
    count, fps = len(pictures), float(sample.fps)
    boxes = keypoints.boxes[:count]
    with ClipReader(sample.video) as reader:
        ours = seconds(lambda: list(reader.chunks(16)))
        whole = len(reader)
    with ClipReader(sample.video) as reader:
        order = np.random.default_rng(0).permutation(whole)[:count]
        other = seconds(lambda: [reader.frames([int(index)]) for index in order])
    yield "decode, in order", "frame by frame at random", whole / ours, count / other, "key frames every 16"

    sampled = seconds(lambda: PeopleFilter()(pictures, fps))
    every = seconds(lambda: PeopleFilter(replace(PeopleConfig(), samples_per_second=fps))(pictures, fps))
    yield "people, 4 looks a second", "every frame", count / sampled, count / every, "boxes between are interpolated"

    tracked = seconds(lambda: BlazePoseWholeBody(track=True)(pictures, boxes))
    anew = seconds(lambda: BlazePoseWholeBody(track=False)(pictures, boxes))
    yield "key points, tracked", "found anew in each frame", count / tracked, count / anew, "crops follow"

    body = load_body(None)
    part = Keypoints(
        keypoints.points[:count],
        keypoints.scores[:count],
        boxes,
        keypoints.estimator,
        None if keypoints.world is None else keypoints.world[:count],
    )
    size = (sample.meta["size"][0], sample.meta["size"][1])
    fit_sequence(body, part, size)
    together = seconds(lambda: fit_sequence(body, part, size))
    few = range(0, count, max(1, count // 4))

    def one_by_one() -> None:
        for index in few:
            at = slice(index, index + 1)
            world = None if part.world is None else part.world[at]
            fit_sequence(body, Keypoints(part.points[at], part.scores[at], part.boxes[at], "", world), size)

    alone = seconds(one_by_one)
    yield "body fit, whole clip", "frame by frame", count / together, len(few) / alone, "one shape, smooth"

    vertices = body.vertices(sample.body, slice(0, 24))
    meshes = [Mesh(v, body.faces.astype(np.int32)) for v in vertices]
    rasteriser, slow = Rasteriser(), PyrenderRasteriser(multisample=True)
    for draw in (rasteriser, slow):
        draw.draw([meshes[0]], sample.body.camera)
    fast = seconds(lambda: [rasteriser.draw([mesh], sample.body.camera) for mesh in meshes])
    by_pyrender = seconds(lambda: [slow.draw([mesh], sample.body.camera) for mesh in meshes[:6]])
    yield "rasteriser", "pyrender as it comes", len(meshes) / fast, 6 / by_pyrender, f"{size[0]}x{size[1]}"

    points = sample.keypoints
    drawn = seconds(lambda: [draw_skeleton(points.points[i], points.scores[i], size) for i in range(count)])
    yield "skeleton map", "none", count / drawn, float("nan"), f"{size[0]}x{size[1]}"


@contextmanager
def timed(owner: type, name: str, total: list[float]) -> Iterator[None]:
    """Adds up the seconds spent inside a method."""
    original = getattr(owner, name)

    def method(self: object, *arguments: object, **options: object) -> object:
        start = time.perf_counter()
        try:
            return original(self, *arguments, **options)
        finally:
            total[0] += time.perf_counter() - start

    with mock.patch.object(owner, name, method):
        yield


def end_to_end(videos: Path, out: Path, console: Console) -> Summary:
    settings = ShardsSettings(profile="lite", executor="inline")
    nets, decoding = [0.0], [0.0]
    start = time.perf_counter()
    with timed(onnxruntime.InferenceSession, "run", nets), timed(ClipReader, "frames", decoding):
        summary = run_shards(str(videos), out, settings)
    wall = time.perf_counter() - start
    table = Table(title="End to end, executor inline, one process", title_justify="left")
    for column in ("stage", "frames", "seconds", "frames/s", "share of the run"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for name, speed in summary.speeds.items():
        if speed.units:
            share = f"{100 * speed.seconds / wall:.1f} %"
            table.add_row(name, str(speed.frames), f"{speed.seconds:.1f}", f"{speed.frames / speed.seconds:.1f}", share)
    inside = sum(speed.seconds for speed in summary.speeds.values())
    table.add_row("sum of stages", "", f"{inside:.1f}", "", f"{100 * inside / wall:.1f} %")
    table.add_row("whole run", "", f"{wall:.1f}", "", "100 %")
    console.print(table)
    whole = {name: summary.speeds[name].seconds for name in ("ingest", "body", "render")}
    worked = nets[0] + decoding[0] + sum(whole.values())
    console.print(
        f"inside models, decoding and encoding: {100 * worked / wall:.1f} % of the run (nets {nets[0]:.1f} s, decoding "
        f"clips {decoding[0]:.1f} s, " + ", ".join(f"{name} {value:.1f} s" for name, value in whole.items()) + ")",
        highlight=False,
    )
    return summary


def byte_rows(out: Path) -> Iterator[tuple[str, float, float]]:
    """(sample, bytes per frame in the shard, bytes per frame as PNG frames, skeleton and rendering maps)."""
    for shard in sorted((out / "shards").glob("*.tar")):
        total = shard.stat().st_size
        samples = list(read_shard(shard))
        frames = sum(len(sample.keypoints) for sample in samples)
        as_png = counted = 0
        for sample in samples:
            with ClipReader(sample.video) as video, MapsReader(sample.render) as maps:
                for index in range(0, len(video), 12):
                    shaded, labels = (array[0] for array in maps.frames([index]))
                    points, scores = sample.keypoints.points[index], sample.keypoints.scores[index]
                    skeleton = draw_skeleton(points, scores, (video.size[0], video.size[1]))
                    as_png += sum(map(png_bytes, (video.frames([index])[0], shaded, labels, skeleton)))
                    counted += 1
        yield shard.name, total / frames, as_png / counted


def png_bytes(picture: np.ndarray) -> int:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG")
    return stream.tell()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--videos", type=Path, help="a folder of videos (default: the demo videos)")
    arguments.add_argument("--frames", type=int, default=96, help="frames per single-stage measurement")
    options = arguments.parse_args()
    console = Console(width=130)
    with tempfile.TemporaryDirectory() as folder:
        videos = options.videos
        if videos is None:
            videos = Path(folder) / "videos"
            make_demo_videos(videos)
        out = Path(folder) / "out"
        end_to_end(videos, out, console)
        sample = max(
            (s for shard in sorted((out / "shards").glob("*.tar")) for s in read_shard(shard)),
            key=lambda sample: len(sample.keypoints),
        )
        record = Ledger(out / "work").record("keypoints", sample.meta["units"]["keypoints"])
        assert record is not None, "a packed sample has its key points in the ledger"
        keypoints = read_keypoints(Ledger(out / "work").folder_of(record) / "keypoints.npz")
        table = Table(title=f"Stages beside their plain alternatives, CPU time, {sample.key}", title_justify="left")
        for column in ("stage", "alternative", "frames/s", "alternative", "ratio", "what differs"):
            table.add_column(column, justify="right" if column in ("frames/s", "ratio") else "left")
        for stage, alternative, ours, other, what in stage_rows(sample, keypoints, options.frames):
            table.add_row(stage, alternative, f"{ours:.1f}", f"{other:.1f}", f"{ours / other:.1f}", what)
        console.print(table)
        table = Table(title="Bytes per frame", title_justify="left")
        for column in ("shard", "in the shard", "as PNG frames and maps", "ratio"):
            table.add_column(column)
        for name, packed, as_png in byte_rows(out):
            table.add_row(name, f"{packed:.0f}", f"{as_png:.0f}", f"{as_png / packed:.1f}")
        console.print(table)


if __name__ == "__main__":
    main()
