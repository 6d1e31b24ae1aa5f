"""World landmarks guessed from the image alone: a start for the fit where the estimator gives no depth.

A bone of known length that looks short points toward the camera or away from it; which of the two is decided by what
people usually do (arms and thighs forward, shanks backward, relative to where the person faces).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# COCO point -> BlazePose landmark, for what the start needs.
_LANDMARK = {
    0: 0, 1: 2, 2: 5, 3: 7, 4: 8, 5: 11, 6: 12, 7: 13, 8: 14, 9: 15, 10: 16,
    11: 23, 12: 24, 13: 25, 14: 26, 15: 27, 16: 28, 17: 31, 20: 32, 19: 29, 22: 30,
}  # fmt: skip
# Chains outward from hips and shoulders: (COCO parent, COCO child, smplx parent, smplx child, depth sign when forward).
_CHAIN = (
    (5, 7, 16, 18, 1), (7, 9, 18, 20, 1), (6, 8, 17, 19, 1), (8, 10, 19, 21, 1),
    (11, 13, 1, 4, 1), (13, 15, 4, 7, -1), (12, 14, 2, 5, 1), (14, 16, 5, 8, -1),
)  # fmt: skip
_SLACK = 0.92  # bones that look this long or longer, relative to their length, lie in the image plane


def visible_world(world: NDArray[np.float32], seen: NDArray[np.bool_]) -> Array:
    """World landmarks (T, 33, 3) without those whose key point is unseen, and none in frames without any key point.

    seen: (T, 133). BlazePose guesses hidden landmarks; a guess about depth is worth less than the prior.
    """
    kept: Array = world.astype(np.float64)
    kept[~np.asarray(seen.any(1))] = np.nan
    for coco, landmark in _LANDMARK.items():
        kept[~seen[:, coco], landmark] = np.nan
    for knee, ankle in ((25, 27), (26, 28)):  # a leg cut by the picture's edge is guessed as if the person sat
        kept[np.isnan(kept[:, ankle, 0]), knee] = np.nan
    return kept


def lifted_world(points: NDArray[np.float32], seen: NDArray[np.bool_], rest: Array) -> Array:
    """Landmarks (T, 33, 3), metres, camera axes, origin between the shoulders; NaN where unseen.

    points: (T, 133, 2) pixels. seen: (T, 133). rest: (144, 3) points of the unposed body.
    """
    frames = len(points)
    flat = np.where(seen[..., None], points, np.nan).astype(np.float64)
    scale = _metres_per_pixel(flat, rest)
    middle = (flat[:, 5] + flat[:, 6]) / 2
    middle = np.where(np.isfinite(middle), middle, (flat[:, 11] + flat[:, 12]) / 2)
    middle = np.where(np.isfinite(middle), middle, np.nan_to_num(flat[:, 0]))
    place = np.full((frames, 133, 3), np.nan)
    place[..., :2] = (flat - middle[:, None]) * scale[:, None, None]
    place[..., 2] = np.where(np.isfinite(flat[..., 0]), 0, np.nan)

    facing = np.sign(np.nan_to_num(flat[:, 5, 0] - flat[:, 6, 0]) + np.nan_to_num(flat[:, 11, 0] - flat[:, 12, 0]))
    facing = np.where(facing == 0, 1, facing)  # 1: toward the camera
    _turn_pair(place, 5, 6, float(np.linalg.norm(rest[16] - rest[17])), flat)
    _turn_pair(place, 11, 12, float(np.linalg.norm(rest[1] - rest[2])), flat)
    for parent, child, a, b, forward in _CHAIN:
        length = np.linalg.norm(rest[b] - rest[a])
        apparent = np.linalg.norm(place[:, child, :2] - place[:, parent, :2], axis=-1) / _SLACK
        depth = np.sqrt(np.clip(length**2 - apparent**2, 0, None))
        place[:, child, 2] = place[:, parent, 2] - facing * forward * depth
    world = np.full((frames, 33, 3), np.nan)
    for coco in range(5, 17):  # a flat head and flat feet have no direction: the neutral one is a better start
        world[:, _LANDMARK[coco]] = place[:, coco]
    return world


def _turn_pair(place: Array, left: int, right: int, width: float, flat: Array) -> None:
    """Give a left-right pair depth: it looks narrow when the person turns, toward the side the nose points to."""
    apparent = np.abs(place[:, left, 0] - place[:, right, 0]) / _SLACK
    half = np.sqrt(np.clip(width**2 - apparent**2, 0, None)) / 2
    to_right = np.sign(np.nan_to_num(flat[:, 0, 0] - np.nanmean(flat[:, [3, 4], 0], axis=1)))
    # Looking to the image's right, the person's left side is farther from the camera.
    place[:, left, 2] += to_right * half
    place[:, right, 2] -= to_right * half


def _metres_per_pixel(flat: Array, rest: Array) -> Array:
    """(T,): from the bone that looks longest for its length; the median over time where a frame shows too little."""
    pairs = [(5, 11, 16, 1), (6, 12, 17, 2), *((p, c, a, b) for p, c, a, b, _ in _CHAIN), (5, 6, 16, 17)]
    lengths = np.array([np.linalg.norm(rest[b] - rest[a]) for _, _, a, b in pairs])
    pixels = np.stack([np.linalg.norm(flat[:, c] - flat[:, p], axis=-1) for p, c, _, _ in pairs], -1)
    ratio = np.where(pixels > 1, lengths / np.maximum(pixels, 1), np.nan)
    ratio = np.where(np.isfinite(ratio).any(1, keepdims=True), ratio, np.inf)
    scale = np.nanmin(ratio, axis=1)
    good = np.isfinite(scale)
    return np.where(good, scale, np.median(scale[good]) if good.any() else 1.0)
