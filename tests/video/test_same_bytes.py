"""The encoder writes the same bytes whatever lay in the memory that it is given."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.video.encode import encode_maps

WIDTH, HEIGHT, FRAMES, TIMES = 32, 48, 20, 100


def pictures(rng: np.random.Generator) -> list[NDArray[np.uint8]]:
    noise = rng.integers(0, 255, (HEIGHT, WIDTH + FRAMES, 3), dtype=np.uint8)
    wide = cv2.GaussianBlur(noise, (0, 0), 3)
    return [np.ascontiguousarray(wide[:, n : n + WIDTH]) for n in range(FRAMES)]


def test_small_maps_have_the_same_bytes_a_hundred_times(tmp_path: Path):
    rng = np.random.default_rng(1)
    shaded = pictures(rng)
    labels = [picture[..., 0] // 64 for picture in shaded]
    found, junk = set(), []
    for _ in range(TIMES):
        encode_maps(tmp_path / "maps.mp4", shaded, labels, Fraction(25))
        found.add((tmp_path / "maps.mp4").read_bytes())
        junk.append(np.full(rng.integers(100, 400_000), rng.integers(255), np.uint8))
        del junk[:-20]
    assert len(found) == 1
