"""Skeleton maps a second on one core, beside the plain way of drawing the confidence variant (a whole large canvas).

    python -m benchmarks.skeleton [--size 512x768]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from pipelines.body import skeleton
from pipelines.body.skeleton import draw_skeleton


def dancer(size: tuple[int, int], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (count, 133, 2) and scores of someone with all points visible, in slightly different places each time."""
    rng = np.random.default_rng(0)
    body = [
        (256, 120), (268, 110), (244, 110), (285, 118), (228, 118), (320, 200), (192, 200), (400, 280), (112, 280),
        (450, 380), (62, 380), (295, 420), (217, 420), (330, 560), (182, 560), (350, 700), (162, 700),
    ]  # fmt: skip
    angle = np.linspace(0, np.pi, 68)
    face = np.stack([256 + 40 * np.cos(angle), 120 + 50 * np.sin(angle)], 1)
    fingers = np.array([(20 * (f - 2), 25 * (j + 1)) for f in range(5) for j in range(4)])
    hands = [np.concatenate([[wrist], np.array(wrist) + fingers]) for wrist in ((450, 380), (62, 380))]
    points = np.concatenate([body, np.tile((256, 740), (6, 1)), face, *hands]) * np.array(size) / (512, 768)
    return points + rng.normal(0, 3, (count, 133, 2)), rng.uniform(0.4, 1, (count, 133))


def whole_canvas(points: np.ndarray, scores: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The confidence variant as its definition says it."""
    scale = skeleton.CONFIDENCE_SHORT_SIDE / min(size)
    large = (int(size[0] * scale), int(size[1] * scale))
    strokes = skeleton._strokes(points / size * large, scores, skeleton.LIMB_STROKE, (True, True, True, False))
    canvas = np.zeros((large[1], large[0], 3), np.uint8)
    skeleton._paint(canvas, strokes)
    return cv2.cvtColor(cv2.resize(canvas, size), cv2.COLOR_BGR2RGB)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="512x768")
    parser.add_argument("--maps", type=int, default=200)
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    size = (width, height)
    cv2.setNumThreads(1)
    points, scores = dancer(size, options.maps)
    ways: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
        "plain": lambda p, s: draw_skeleton(p, s, size),
        "plain, with feet": lambda p, s: draw_skeleton(p, s, size, feet=True),
        "confidence": lambda p, s: draw_skeleton(p, s, size, "confidence"),
        "confidence on a whole canvas": lambda p, s: whole_canvas(p, s, size),
    }
    table = Table(title=f"skeleton maps of all 133 points, {width}x{height}, one core")
    table.add_column("variant")
    table.add_column("CPU, maps/s", justify="right")
    table.add_column("wall, maps/s", justify="right")
    drawn = {}
    for name, draw in ways.items():
        draw(points[0], scores[0])
        wall, cpu = time.perf_counter(), time.process_time()
        drawn[name] = [draw(p, s) for p, s in zip(points, scores)][-1]
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        table.add_row(name, f"{options.maps / cpu:.0f}", f"{options.maps / wall:.0f}")
    console = Console(width=100)
    console.print(table)
    same = (drawn["confidence"] == drawn["confidence on a whole canvas"]).all()
    console.print(f"both ways of drawing the confidence variant give the same picture: {same}")


if __name__ == "__main__":
    main()
