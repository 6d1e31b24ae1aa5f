"""What the two protocols make of known errors, and what a frame costs.

    python -m benchmarks.evaluate [--size 256x256] [--frames 24]

The first table distorts a moving picture in known ways and prints both protocols side by side. The second times the
measures that need no weights.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from pipelines.clip import Frames
from pipelines.evaluate.metrics import l1, psnr, ssim, temporal


def scene(frames: int, size: tuple[int, int]) -> Frames:
    """uint8 (frames, H, W, 3): a texture that moves, drawn from seed 0."""
    width, height = size
    noise = np.random.default_rng(0).random((height + frames, width + frames, 3)).astype(np.float32)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 4), None, 0, 255, cv2.NORM_MINMAX)
    return np.stack([texture[t : t + height, t : t + width] for t in range(frames)]).astype(np.uint8)


def distortions(truth: Frames) -> dict[str, Frames]:
    generator = np.random.default_rng(1)

    def noisy(deviation: float) -> Frames:
        return np.clip(np.rint(truth + generator.normal(0, deviation, truth.shape)), 0, 255).astype(np.uint8)

    return {
        "noise of 4 levels": noisy(4),
        "noise of 16 levels": noisy(16),
        "noise of 48 levels": noisy(48),
        "shifted by 4 pixels": np.roll(truth, 4, axis=2),
        "20 levels brighter": np.clip(truth.astype(int) + 20, 0, 255).astype(np.uint8),
        "every other frame brighter": np.clip(
            truth.astype(int) + 20 * (np.arange(len(truth)) % 2)[:, None, None, None], 0, 255
        ).astype(np.uint8),
        "unrelated": generator.integers(0, 256, truth.shape, dtype=np.uint8),
    }


MEASURES: dict[str, Callable[[Frames, Frames], float]] = {
    "PSNR disco": psnr.psnr_disco, "PSNR": psnr.psnr, "SSIM disco": ssim.ssim_disco, "SSIM": ssim.ssim,
    "L1 disco": l1.l1_disco, "L1": l1.l1,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="256x256")
    parser.add_argument("--frames", type=int, default=24)
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    truth = scene(options.frames, (width, height))
    console = Console(width=140)
    table = Table("error", *MEASURES, "Flicker", "Warping", title=f"{options.frames} frames of {options.size}")
    flow = temporal.Flow()
    motions = [flow(a, b) for a, b in pairwise(truth)]
    for name, result in distortions(truth).items():
        values = [np.mean([measure(a, b) for a, b in zip(result, truth)]) for measure in MEASURES.values()]
        steps = range(len(truth) - 1)
        flicker = np.mean([temporal.flicker(result[t], result[t + 1], truth[t], truth[t + 1]) for t in steps])
        warping = np.nanmean([temporal.warp_error(result[t], result[t + 1], motions[t]) for t in steps])
        table.add_row(name, *(f"{value:.4g}" for value in (*values, flicker, warping)))
    console.print(table)

    costs = Table("measure", "ms a frame", title="cost, one thread")
    for name, measure in MEASURES.items():
        start = time.perf_counter()
        for a, b in zip(truth, truth[::-1]):
            measure(a, b)
        costs.add_row(name, f"{1000 * (time.perf_counter() - start) / len(truth):.2f}")
    start = time.perf_counter()
    for a, b in pairwise(truth):
        flow(a, b)
    costs.add_row("flow, both ways", f"{1000 * (time.perf_counter() - start) / (len(truth) - 1):.2f}")
    console.print(costs)


if __name__ == "__main__":
    main()
