"""Two plots, drawn with Pillow: differences with their intervals, and losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipelines.engine.atomic import whole_file
from train.ablation.compare import Difference
from train.ablation.variants import TITLES

WIDTH, HEIGHT, MARGIN = 1000, 420, 60
INK, GRID, PAPER = (30, 30, 30), (215, 215, 215), (255, 255, 255)
COLOURS = ((31, 119, 180), (214, 39, 40), (44, 160, 44), (148, 103, 189), (255, 127, 14), (23, 190, 207))


def bars(
    path: Path, worse: Mapping[str, Mapping[str, Difference]], columns: Sequence[str], shown: Sequence[str]
) -> None:
    """A group of bars for each column of `shown`, a bar for each variant, a line for its interval; decibels."""
    drawn = [row[column] for row in worse.values() for column in shown]
    ends = [v for one in drawn for v in (one.mean, one.low, one.high) if np.isfinite(v)]
    low, high = min([0.0, *ends]), max([0.0, *ends, 0.01])
    image, pen = _page("Worse than the full model by, dB (denoising, mean of the noise levels; line: 95 % interval)")

    def at(value: float) -> float:
        return HEIGHT - MARGIN - (value - low) / (high - low) * (HEIGHT - 2 * MARGIN)

    _scale(pen, low, high, at)
    group = (WIDTH - 2 * MARGIN) / len(shown)
    bar = group / (len(worse) + 1.5)
    for place, column in enumerate(shown):
        left = MARGIN + place * group + bar * 0.75
        pen.text((left, HEIGHT - MARGIN + 8), column, fill=INK)
        for number, (colour, row) in enumerate(zip(COLOURS, worse.values())):
            one = row[column]
            if not np.isfinite(one.mean):
                continue
            x = left + number * bar
            pen.rectangle((x, min(at(0), at(one.mean)), x + bar * 0.85, max(at(0), at(one.mean))), fill=colour)
            if np.isfinite(one.low):
                pen.line((x + bar * 0.42, at(one.low), x + bar * 0.42, at(one.high)), fill=INK, width=2)
    _legend(pen, [TITLES[variant] for variant in worse])
    _save(path, image)


def curves(path: Path, losses: Mapping[str, NDArray[np.float32]], window: int = 50) -> None:
    """Running means of the losses of each run over its steps, logarithmic upwards."""
    smooth = {name: _running(values, window) for name, values in losses.items() if len(values)}
    ends = np.log(np.concatenate(list(smooth.values())))
    low, high = float(ends.min()), max(float(ends.max()), float(ends.min()) + 0.01)
    image, pen = _page(f"Loss, running mean of {window} steps")

    def at(value: float) -> float:
        return HEIGHT - MARGIN - (np.log(value) - low) / (high - low) * (HEIGHT - 2 * MARGIN)

    for value in np.exp(np.linspace(low, high, 5)):
        pen.line((MARGIN, at(value), WIDTH - MARGIN, at(value)), fill=GRID)
        pen.text((8, at(value) - 6), f"{value:.3f}", fill=INK)
    variants = list(dict.fromkeys(name.rpartition("-")[0] for name in smooth))
    for name, values in smooth.items():
        steps = np.linspace(MARGIN, WIDTH - MARGIN, len(values))
        colour = COLOURS[variants.index(name.rpartition("-")[0]) % len(COLOURS)]
        pen.line([(float(x), at(float(y))) for x, y in zip(steps, values)], fill=colour, width=2)
    _legend(pen, [TITLES[variant] for variant in variants])
    _save(path, image)


def _running(values: NDArray[np.float32], window: int) -> NDArray[np.float64]:
    window = min(window, len(values))
    return np.convolve(values.astype(np.float64), np.full(window, 1 / window), mode="valid")


def _page(title: str) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    pen = ImageDraw.Draw(image)
    pen.text((MARGIN, 12), title, fill=INK)
    return image, pen


def _scale(pen: ImageDraw.ImageDraw, low: float, high: float, at: object) -> None:
    assert callable(at)
    step = _round_step((high - low) / 5)
    for number in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1):
        value = number * step
        pen.line((MARGIN, at(value), WIDTH - MARGIN, at(value)), fill=INK if number == 0 else GRID)
        pen.text((8, at(value) - 6), f"{value:.3g}", fill=INK)


def _round_step(rough: float) -> float:
    size = 10 ** np.floor(np.log10(rough))
    return float(next(size * nice for nice in (1, 2, 5, 10) if size * nice >= rough))


def _legend(pen: ImageDraw.ImageDraw, names: Sequence[str]) -> None:
    for number, (colour, name) in enumerate(zip(COLOURS, names)):
        left = MARGIN + number * 180
        pen.rectangle((left, 32, left + 12, 44), fill=colour)
        pen.text((left + 18, 32), name, fill=INK)


def _save(path: Path, image: Image.Image) -> None:
    with whole_file(path) as temporary:
        image.save(temporary, format="PNG")
