"""Mean absolute error, as it should be and as DisCo divides it."""

from __future__ import annotations

import numpy as np

from pipelines.clip import Frames


def levels(generated: Frames, truth: Frames) -> float:
    """Mean absolute difference of two pictures (H, W, 3), in levels 0..255."""
    return float(np.abs(generated.astype(np.int16) - truth.astype(np.int16)).mean(dtype=np.float64))


def l1(generated: Frames, truth: Frames) -> float:
    """Mean absolute difference, 0..1."""
    return levels(generated, truth) / 255


def l1_disco(generated: Frames, truth: Frames) -> float:
    """DisCo's: levels 0..255, divided by the number of pixels a second time after the mean, so that it depends on the
    size of the picture. Source: DisCo tool/metrics/ssim_l1_lpips_psnr.py, l1_eval."""
    height, width = truth.shape[:2]
    return levels(generated, truth) / (height * width)


def from_disco(value: float, size: tuple[int, int]) -> float:
    """What DisCo's number at the size (width, height) is as `l1`, 0..1."""
    return value * size[0] * size[1] / 255


def to_disco(value: float, size: tuple[int, int]) -> float:
    """What `l1` is as DisCo's number at the size (width, height)."""
    return value * 255 / (size[0] * size[1])
