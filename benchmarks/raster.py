"""The rasteriser beside pyrender, in one process on one core: frames a second, silhouettes, depth.

    python -m benchmarks.raster [--frames 20] [--size 512x768]

Every frame is a new pose, as in a clip; both backends get the posed vertices. "drawing" is CPU time inside the backend,
so that other work on the machine does not count. pyrender is shown as it comes, with four samples a pixel, and with
one, which is what its silhouette and depth can be compared with: both then look at the pixel's centre.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

# One core each: llvmpipe takes every core it finds otherwise.
os.environ.setdefault("LP_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from rich.console import Console
from rich.table import Table

from pipelines.body.camera import assumed_camera
from pipelines.body.model import Body, load_body
from pipelines.body.raster import Maps, Mesh, Rasteriser
from pipelines.body.raster_pyrender import PyrenderRasteriser
from pipelines.clip import BodySequence, Camera


def moving(body: Body, frames: int, size: tuple[int, int]) -> BodySequence:
    """Someone who fills the picture's height, turns once and swings arms and legs."""
    t = np.linspace(0, 2 * np.pi, frames, endpoint=False, dtype=np.float32)
    pose = np.zeros((frames, 21, 3), np.float32)
    pose[:, 15, 2], pose[:, 16, 2] = -0.9 - 0.4 * np.sin(t), 0.9 - 0.4 * np.sin(2 * t)
    pose[:, 17, 1], pose[:, 18, 1] = -0.8 - 0.6 * np.cos(t), 0.8 - 0.6 * np.sin(t)
    pose[:, 0, 0], pose[:, 1, 0] = -0.4 - 0.4 * np.sin(t), -0.4 + 0.4 * np.sin(t)
    pose[:, 3, 0], pose[:, 4, 0] = 0.6 + 0.5 * np.sin(t), 0.6 - 0.5 * np.sin(t)
    half = t[:, None] / 2
    # Upright and facing the camera is a half turn about x; the turn about the vertical comes on top.
    orient = np.pi * np.concatenate([np.cos(half), np.zeros_like(half), np.sin(half)], 1)
    camera = assumed_camera(size)
    transl = np.tile(np.array([0, 0.3, 1.95 * camera.focal / size[1]], np.float32), (frames, 1))
    zeros = np.zeros
    return BodySequence(
        zeros(10, np.float32), zeros((frames, 10), np.float32), orient.astype(np.float32), pose,
        zeros((frames, 15, 3), np.float32), zeros((frames, 15, 3), np.float32), zeros((frames, 3), np.float32), transl,
        camera, False, body.hash, np.ones(frames, bool),
    )  # fmt: skip


def timed(draw: Callable[[Mesh, Camera], Maps], meshes: list[Mesh], camera: Camera) -> tuple[float, float]:
    """Wall and CPU seconds per frame. Maps are dropped as they come, as in a stream."""
    for mesh in meshes[:2]:
        draw(mesh, camera)
    wall, cpu = time.perf_counter(), time.process_time()
    for mesh in meshes:
        draw(mesh, camera)
    return (time.perf_counter() - wall) / len(meshes), (time.process_time() - cpu) / len(meshes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--size", default="512x768")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    body = load_body(None)
    sequence = moving(body, options.frames, (width, height))
    faces = np.ascontiguousarray(body.faces, np.int32)
    meshes = [Mesh(vertices, faces, body.face_parts) for vertices in body.vertices(sequence)]

    start = time.perf_counter()
    Rasteriser().draw(meshes[0], sequence.camera)
    first = time.perf_counter() - start
    camera, rasteriser = sequence.camera, Rasteriser()
    kept = rasteriser.draw(meshes[0], camera)
    single = PyrenderRasteriser()
    ours, theirs = [Rasteriser().draw(m, camera) for m in meshes], [single.draw(m, camera) for m in meshes]
    times = {
        "numba": timed(Rasteriser().draw, meshes, camera),
        "numba, maps reused": timed(lambda mesh, camera: rasteriser.draw(mesh, camera, out=kept), meshes, camera),
        "numba, 2x2 samples": timed(Rasteriser(samples=2).draw, meshes, camera),
        "pyrender, 1 sample": timed(single.draw, meshes, camera),
        "pyrender, 4 samples (as it comes)": timed(PyrenderRasteriser(multisample=True).draw, meshes, camera),
    }
    slow, slow_single = times["pyrender, 4 samples (as it comes)"][1], times["pyrender, 1 sample"][1]

    table = Table(title=f"{width}x{height}, {len(body.faces)} faces, {len(meshes)} poses, one core")
    for column in ("backend", "drawing, frames/s", "wall, frames/s", "times pyrender's 4 samples", "... 1 sample"):
        table.add_column(column, justify="left" if column == "backend" else "right")
    for name, (wall, cpu) in times.items():
        table.add_row(name, f"{1 / cpu:.1f}", f"{1 / wall:.1f}", f"{slow / cpu:.1f}", f"{slow_single / cpu:.1f}")
    console = Console(width=120)
    console.print(table)
    both = [a.mask & b.mask for a, b in zip(ours, theirs)]
    union = [a.mask | b.mask for a, b in zip(ours, theirs)]
    overlap = [i.sum() / u.sum() for i, u in zip(both, union)]
    gaps = np.concatenate([np.abs(a.depth - b.depth)[m] for a, b, m in zip(ours, theirs, both)]) * 1000
    console.print(f"silhouette IoU with pyrender (1 sample): lowest {min(overlap):.5f}")
    console.print(
        f"depth difference where both cover, mm: median {np.median(gaps):.4f}, "
        f"99.99 % {np.quantile(gaps, 0.9999):.3f}, largest {gaps.max():.3f}; "
        f"over 2 mm: {(gaps > 2).sum()} of {gaps.size} pixels"
    )
    console.print(f"first picture of the process (loading or compiling the kernels): {first:.2f} s")


if __name__ == "__main__":
    main()
