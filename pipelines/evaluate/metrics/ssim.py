"""Structural similarity, in the two forms that the protocols name. Both are scikit-image's."""

from __future__ import annotations

import cv2
from skimage.metrics import structural_similarity

from pipelines.clip import Frames

# scikit-image's Gaussian of sigma 1.5 is cut at 3.5 sigma: eleven pixels, Wang's window.
LEAST = 11


def ssim(generated: Frames, truth: Frames) -> float:
    """Wang et al. 2004: Gaussian window of 11 pixels, sigma 1.5, population covariance, mean over the colour channels.

    Pictures (H, W, 3) with sides of at least 11. Windows that reach over the edge are left out, as Wang does;
    torchmetrics' StructuralSimilarityIndexMeasure (data_range 255) mirrors the picture there and counts them.
    """
    return float(
        structural_similarity(
            generated, truth, channel_axis=2, data_range=255, gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False,
        )
    )  # fmt: skip


def ssim_disco(generated: Frames, truth: Frames) -> float:
    """DisCo's: grey, uniform window of 7, sample covariance. Source: tool/metrics/ssim_l1_lpips_psnr.py."""
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (generated, truth)]
    return float(structural_similarity(grey[0], grey[1], data_range=255))
