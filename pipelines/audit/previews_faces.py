"""Making people unrecognisable in a preview: the main person's head, and whatever is not the main person.

The head is where the key points of face, eyes and ears are, whether or not they were seen well: a blur in the wrong
place costs nothing. Other people have no key points, so all outside the main person's box is blurred as well, less.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.clip import FACE, Keypoints

HEAD = [0, 1, 2, 3, 4, *range(FACE.start, FACE.stop)]
SHOULDERS = (5, 6)
AROUND = 1.5
FEWEST_CELLS = 5
OUTSIDE_CELLS = 40
NEAR = 2


def blur_people(picture: NDArray[np.uint8], keypoints: Keypoints, index: int) -> NDArray[np.uint8]:
    """A copy of an RGB picture (H, W, 3) without recognisable faces. index: which frame of the key points it is.

    Without any usable point the upper half of the person's box is blurred, without a box the whole picture.
    """
    height, width = picture.shape[:2]
    box = _box(keypoints.boxes[index], width, height)
    if box is None:
        return _coarse(picture, OUTSIDE_CELLS // 2)
    out = _coarse(picture, OUTSIDE_CELLS)
    left, top, right, bottom = box
    out[top:bottom, left:right] = picture[top:bottom, left:right]
    heads = [_head(keypoints, at, box) for at in range(max(0, index - NEAR), min(len(keypoints), index + NEAR + 1))]
    found = [head for head in heads if head is not None]
    if _head(keypoints, index, box) is None:
        middle = (top + bottom) // 2
        out[top:middle, left:right] = _coarse(out[top:middle, left:right], FEWEST_CELLS)
    for x, y, radius in found:
        _blur_disc(out, x, y, radius)
    return out


def _box(box: NDArray[np.float32], width: int, height: int) -> tuple[int, int, int, int] | None:
    if not np.isfinite(box).all():
        return None
    margin = 0.06 * max(box[2] - box[0], box[3] - box[1])
    left, top = max(0, int(box[0] - margin)), max(0, int(box[1] - margin))
    right, bottom = min(width, int(np.ceil(box[2] + margin))), min(height, int(np.ceil(box[3] + margin)))
    return (left, top, right, bottom) if right - left > 1 and bottom - top > 1 else None


def _head(keypoints: Keypoints, index: int, box: tuple[int, int, int, int]) -> tuple[float, float, float] | None:
    """Centre and radius of the head, in pixels, from whatever points of it lie in the box."""
    points, scores = keypoints.points[index], keypoints.scores[index]
    left, top, right, bottom = box
    tall, wide = bottom - top, right - left
    inside = (
        np.isfinite(points).all(1)
        & (points[:, 0] > left - wide) & (points[:, 0] < right + wide)
        & (points[:, 1] > top - tall) & (points[:, 1] < bottom)
    )  # fmt: skip
    seen = [point for point in HEAD if inside[point] and scores[point] > 0]
    if not seen:
        return None
    head = points[seen]
    centre = (head.max(0) + head.min(0)) / 2
    radius = float(np.linalg.norm(head - centre, axis=1).max())
    a, b = SHOULDERS
    if inside[a] and inside[b]:
        radius = max(radius, 0.35 * float(np.linalg.norm(points[a] - points[b])))
    radius = max(AROUND * radius, 0.07 * tall, 12.0)
    return float(centre[0]), float(centre[1]), min(radius, 0.5 * max(tall, wide))


def _blur_disc(picture: NDArray[np.uint8], x: float, y: float, radius: float) -> None:
    height, width = picture.shape[:2]
    left, right = max(0, int(x - radius)), min(width, int(np.ceil(x + radius)))
    top, bottom = max(0, int(y - 1.2 * radius)), min(height, int(np.ceil(y + 1.2 * radius)))
    if right <= left or bottom <= top:
        return
    part = picture[top:bottom, left:right]
    rows, columns = np.ogrid[top:bottom, left:right]
    disc = ((columns + 0.5 - x) / radius) ** 2 + ((rows + 0.5 - y) / (1.2 * radius)) ** 2 <= 1
    part[disc] = _coarse(part, FEWEST_CELLS)[disc]


def _coarse(picture: NDArray[np.uint8], cells: int) -> NDArray[np.uint8]:
    """The picture from so few cells on its longer side that nobody can be told by it."""
    height, width = picture.shape[:2]
    scale = cells / max(height, width)
    small = cv2.resize(
        picture, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA
    )
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
