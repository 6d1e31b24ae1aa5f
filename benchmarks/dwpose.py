"""Frames a second of YOLOX + DWPose beside rtmlib frame by frame: same nets, same frames, one run.

    python -m benchmarks.dwpose [--device cpu|cuda|tensorrt] [--video FILE] [--detector FILE --pose FILE] [--frames 24]

Without files it uses conformance nets that cost what yolox_l.onnx and dw-ll_ucoco_384.onnx cost, and drawn frames. On
the CPU compare frames per second of processor time: ours takes one thread, rtmlib takes every core, and other work on
the machine does not count. On a GPU it also tells how busy the GPU was, as nvidia-smi sees it.
rtmlib (pip install --no-deps rtmlib) and onnx are needed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from pipelines.clip import Frames
from pipelines.stages.dwpose.estimator import DWPose
from pipelines.stages.dwpose.people_yolox import YoloxLook
from pipelines.stages.dwpose.yolox import Yolox
from pipelines.stages.people import PeopleFilter
from tests.stages.dwpose.conformance import random_pose, silhouette_yolox
from tests.stages.dwpose.drawing import plain, rectangle


class BusyGpu:
    """Share of time in which the GPU ran a kernel, sampled twice a second while the context lasts; None without one."""

    def __enter__(self) -> BusyGpu:
        self.samples: list[float] = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def _watch(self) -> None:
        query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--id=0"]
        while not self.stop.wait(0.5):
            try:
                self.samples.append(float(subprocess.run(query, capture_output=True, text=True, check=True).stdout))
            except (OSError, subprocess.CalledProcessError, ValueError):
                return

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()

    def share(self) -> float | None:
        return float(np.mean(self.samples)) / 100 if self.samples else None


class Film:
    """Frames, decoded (or drawn) anew for every reader; `decoding` sums the seconds that took."""

    def __init__(self, video: Path | None, count: int) -> None:
        self.video, self.count = video, count
        self.decoding = 0.0

    def frames(self) -> Iterator[Frames]:
        source = self._drawn() if self.video is None else self._decoded(self.video)
        while True:
            start = time.perf_counter()
            frame = next(source, None)
            self.decoding += time.perf_counter() - start
            if frame is None:
                return
            yield frame

    def chunks(self, size: int = 32) -> Iterator[Frames]:
        kept = []
        for frame in self.frames():
            kept.append(frame)
            if len(kept) == size:
                yield np.stack(kept)
                kept = []
        if kept:
            yield np.stack(kept)

    def _drawn(self) -> Iterator[Frames]:
        for index in range(self.count):
            box = np.array([500.0 + 2 * index, 80, 800 + 2 * index, 700])
            yield rectangle(plain(1280, 720), box, (255, 255, 255))

    def _decoded(self, video: Path) -> Iterator[Frames]:
        with av.open(str(video)) as container:
            for _, frame in zip(range(self.count), container.decode(video=0)):
                yield frame.to_ndarray(format="rgb24")


def ours(detector: Yolox, pose: DWPose, film: Film, fps: float) -> Callable[[], int]:
    filter_people = PeopleFilter(look=YoloxLook(detector))

    def run() -> int:
        boxes = filter_people(film.chunks(), fps).boxes
        return len(pose(film.chunks(), boxes))

    return run


def rtmlib_frame_by_frame(detector: Path, pose: Path, film: Film, device: str, every: int) -> Callable[[], int]:
    """rtmlib with the same threshold, the largest box, and the detector on each `every`-th frame."""
    import rtmlib

    with contextlib.redirect_stdout(io.StringIO()):
        settings = {"backend": "onnxruntime", "device": device}
        detect = rtmlib.YOLOX(str(detector), (640, 640), det_mode="multiclass", score_thr=0.3, **settings)
        estimate = rtmlib.RTMPose(str(pose), model_input_size=(288, 384), **settings)

    def run() -> int:
        count, box = 0, np.zeros((0, 4))
        for index, frame in enumerate(film.frames()):
            if index % every == 0:
                boxes, classes = detect(frame[..., ::-1])
                boxes = boxes[classes == 0] if len(boxes) else np.zeros((0, 4))
                box = boxes[np.argsort(-np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))[:1]]
            estimate(frame, box)
            count += 1
        return count

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda", "tensorrt"), default="cpu")
    parser.add_argument("--video", type=Path)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--fps", type=float, default=24.0)
    parser.add_argument("--detector", type=Path, help="yolox_l.onnx")
    parser.add_argument("--pose", type=Path, help="dw-ll_ucoco_384.onnx")
    options = parser.parse_args()
    if (options.detector is None) != (options.pose is None):
        parser.error("give both --detector and --pose, or none")
    if options.device == "cpu":
        cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        measure(options, Path(folder))


def measure(options: argparse.Namespace, folder: Path) -> None:
    device = options.device
    if options.detector is None:
        detector = silhouette_yolox(folder / "yolox_l.onnx", depth=6)
        pose = random_pose(folder / "pose.onnx", width=1, depth=2)
        many = [silhouette_yolox(folder / "yolox_many.onnx", batch="batch", depth=6)]
        many.append(random_pose(folder / "pose_many.onnx", batch="batch", width=1, depth=2))
    else:
        detector, pose, many = options.detector, options.pose, []
    film = Film(options.video, options.frames)
    every = max(1, round(options.fps / 4))
    theirs = "cpu" if device == "cpu" else "cuda"
    ways = {
        "rtmlib, detector on every frame": rtmlib_frame_by_frame(detector, pose, film, theirs, 1),
        f"rtmlib, detector on every {every}th frame": rtmlib_frame_by_frame(detector, pose, film, theirs, every),
        "vividpose, one by one": ours(Yolox(detector, device), DWPose(pose, device, batch=1), film, options.fps),
    }
    if many:
        batched = Yolox(many[0], device, batch=8), DWPose(many[1], device, batch=16)
        ways["vividpose, batches of 8 and 16"] = ours(*batched, film, options.fps)
    table = Table(title=f"YOLOX + DWPose on {device}, {options.frames} frames at {options.fps:g} a second")
    for column in ("", "frames/s", "frames/CPU s", "times rtmlib", "decoding", "GPU busy"):
        table.add_column(column, justify="left" if not column else "right")
    first = None
    for name, run in ways.items():
        if device != "cpu":
            run()  # plans of the nets are made on the first run
        film.decoding = 0.0
        with BusyGpu() as gpu:
            start, start_cpu = time.perf_counter(), time.process_time()
            count = run()
            seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
        rate, cpu_rate = count / seconds, count / cpu_seconds
        counts = cpu_rate if device == "cpu" else rate
        first = first or counts
        busy = gpu.share()
        told = "" if busy is None else f"{busy:.0%}"
        decoding = f"{film.decoding / seconds:.1%}"
        table.add_row(name, f"{rate:.2f}", f"{cpu_rate:.2f}", f"{counts / first:.2f}", decoding, told)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
