"""The noise levels that sampling goes through: falling, the last one 0; one more than there are steps."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

ALIGN_YOUR_STEPS = (700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002)
"""Ten steps optimised for SVD (Sabour et al. 2024, Align Your Steps, published values)."""


def karras_sigmas(
    steps: int, sigma_min: float = 0.002, sigma_max: float = 700.0, rho: float = 7.0
) -> tuple[float, ...]:
    """Eq. 5 of Karras et al. 2022, SVD's range: (sigma_max, ..., sigma_min, 0), `steps` + 1 values rounded to fp32."""
    _check_steps(steps)
    if not 0 < sigma_min < sigma_max < float("inf") or not rho > 0:
        raise ValueError(
            f"sigmas: expected 0 < sigma_min < sigma_max and rho > 0, not {sigma_min}, {sigma_max} and {rho}"
        )
    ends = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return _to_fp32(np.linspace(*ends, steps) ** rho)


def align_your_steps_sigmas(steps: int = 10) -> tuple[float, ...]:
    """The published levels, for another number than ten interpolated linearly in ln(sigma) as their authors say;
    `steps` + 1 values rounded to fp32, the last (0.002) replaced by 0 as in diffusers."""
    _check_steps(steps)
    places = np.linspace(0, len(ALIGN_YOUR_STEPS) - 1, steps + 1)
    return _to_fp32(np.exp(np.interp(places, np.arange(len(ALIGN_YOUR_STEPS)), np.log(ALIGN_YOUR_STEPS)))[:-1])


def check_sigmas(sigmas: tuple[float, ...]) -> None:
    """Raises ValueError unless the levels are finite, fall at every step and end in 0."""
    falls = all(a > b for a, b in pairwise(sigmas))
    if len(sigmas) < 2 or not falls or sigmas[-1] != 0 or not np.isfinite(sigmas[0]):
        raise ValueError(f"sigmas: expected at least one step, finite levels that fall and end in 0, not {sigmas}")


def _to_fp32(levels: np.ndarray) -> tuple[float, ...]:
    return (*(float(level) for level in levels.astype(np.float32)), 0.0)


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise ValueError(f"sampling needs at least one step, not {steps}")
