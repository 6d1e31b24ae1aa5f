"""Peak signal to noise ratio, and the one that published tables of this field hold."""

from __future__ import annotations

from math import log10

import numpy as np

from pipelines.clip import Frames

# What two equal pictures count as, in both protocols: DisCo's choice; a mean over frames needs a finite one.
EQUAL = 100.0


def psnr(generated: Frames, truth: Frames) -> float:
    """10 log10(255^2 / MSE), decibels, over all pixels and channels; `EQUAL` for equal pictures."""
    difference = generated.astype(np.int32) - truth.astype(np.int32)
    return _decibels(float((difference * difference).mean(dtype=np.float64)))


def psnr_disco(generated: Frames, truth: Frames) -> float:
    """The same with the difference and its square both wrapped to eight bits, as DisCo computed it up to commit 6190108
    of 2024-04-10 and most published tables hold it: nothing falls far below 27 dB. Source: DisCo
    tool/metrics/ssim_l1_lpips_psnr.py, psnr_eval; DisCo#86, magic-animate#146, champ#8."""
    wrapped = generated - truth  # uint8 wraps: here that is the point
    return _decibels(float((wrapped * wrapped).mean(dtype=np.float64)))


def _decibels(error: float) -> float:
    return EQUAL if error == 0 else min(EQUAL, 10 * log10(255**2 / error))
