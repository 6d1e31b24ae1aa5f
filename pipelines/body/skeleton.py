"""Skeleton maps: 133 COCO-WholeBody points drawn the way the field draws them.

Pretrained pose networks know one drawing and not another, so both are reproduced to the pixel:

* "plain": DWPose's annotator (OpenPose colours and order, ControlNet). Limbs are filled ellipses, dimmed to
  0.6, joints discs over them, hands coloured lines with blue discs, the face white discs. Points with a score under
  0.3 are left out.
* "confidence": MimicMotion, StableAnimator. The same, each colour times the scores of its points; drawn on a canvas
  whose short side is 2160 and sampled down, so that strokes are thin; red and blue are exchanged, as they do it.

Sizes of strokes are constants in those programs. For "plain" they hold for a short side of 512 pixels, the usual
working size of the annotator, and scale with the picture from there; "confidence" scales by its construction.

Source: DWPose annotator/dwpose/{wholebody,util}.py, MimicMotion mimicmotion/dwpose/util.py (behaviour).
"""

from __future__ import annotations

import colorsys
import math
import threading
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipelines.body.skeleton_sampling import sample_down
from pipelines.clip import FACE, LEFT_HAND, RIGHT_HAND

Style = Literal["plain", "confidence"]
Color = tuple[float, float, float]
# What to draw ("polygon", "line", "disc"), its corners, ends or centre, its colour, and its thickness or radius.
Stroke = tuple[str, Any, Color, int]

VISIBLE = 0.3
LIMB_DIMMING = 0.6
PLAIN_SHORT_SIDE = 512
CONFIDENCE_SHORT_SIDE = 2160
LIMB_STROKE = 4

# Where each of OpenPose's 18 points is found among the 133; the neck (1) is made of the two shoulders.
NECK = 1
OPENPOSE_BODY = (0, -1, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
SHOULDERS = (5, 6)

LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10),
    (1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
COLORS = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0),
    (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255),
    (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85),
)  # fmt: skip
HAND_EDGES = tuple((0 if i % 4 == 0 else i, i + 1) for i in range(20))
HAND_COLORS = tuple(colorsys.hsv_to_rgb(i / 20, 1.0, 1.0) for i in range(20))
# Toes and heel hang on the ankle: (ankle, foot point) among the 133, with the colour of that leg's ankle.
FEET_EDGES = ((15, 17, 13), (15, 18, 13), (15, 19, 13), (16, 20, 10), (16, 21, 10), (16, 22, 10))


def draw_skeleton(
    points: ArrayLike,
    scores: ArrayLike,
    size: tuple[int, int],
    style: Style = "plain",
    *,
    body: bool = True,
    hands: bool = True,
    face: bool = True,
    feet: bool = False,
    stroke: float | None = None,
) -> NDArray[np.uint8]:
    """The skeleton map of one person, uint8 (H, W, 3), RGB on black.

    points: (133, 2) pixels of the picture `size` = (width, height); scores: (133,), 0 to 1. Points that are NaN, have a
    score of 0 or NaN, or lie more than a whole picture outside are taken as unseen, whatever the style.
    feet: toes and heels as well, which neither of the two programs draws.
    stroke: half the width of a limb in pixels, "plain" only; the rest follows it. None: 4 at a short side of 512.

    Raises ValueError for other shapes, an empty size or an unknown style.
    """
    xy, seen, (width, height) = _checked(points, scores, size)
    shown = (body, hands, face, feet)
    if style == "plain":
        unit = (min(width, height) * LIMB_STROKE / PLAIN_SHORT_SIDE) if stroke is None else stroke
        canvas = np.zeros((height, width, 3), np.uint8)
        _paint(canvas, _strokes(xy, np.where(seen > VISIBLE, 1.0, 0.0), unit, shown))
        return canvas
    if style != "confidence":
        raise ValueError(f"style must be 'plain' or 'confidence', got {style!r}")
    if stroke is not None:
        raise ValueError("stroke is for style='plain'; the strokes of 'confidence' are part of its definition")
    scale = CONFIDENCE_SHORT_SIDE / min(width, height)
    large = (int(width * scale), int(height * scale))
    strokes = _strokes(xy / (width, height) * large, seen, LIMB_STROKE, shown)
    canvas = _take_canvas(large)
    _paint(canvas, strokes)
    picture = np.zeros((height, width, 3), np.uint8)
    sample_down(canvas, _reach(strokes), picture)
    _kept.canvas = canvas
    return picture


def _checked(
    points: ArrayLike, scores: ArrayLike, size: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[int, int]]:
    xy = np.array(points, dtype=np.float64)
    seen = np.array(scores, dtype=np.float64)
    if xy.shape != (133, 2) or seen.shape != (133,):
        raise ValueError(f"expected points (133, 2) and scores (133,), got {xy.shape} and {seen.shape}")
    width, height = int(size[0]), int(size[1])
    if width < 1 or height < 1:
        raise ValueError(f"size must be (width, height) of at least 1x1, got {size}")
    extent = np.array([width, height])
    inside = ((xy >= -extent) & (xy <= 2 * extent)).all(axis=1)
    usable = inside & (seen > 0)
    xy[~usable] = 0
    return xy, np.where(usable, np.minimum(seen, 1.0), 0.0), (width, height)


def _strokes(
    xy: NDArray[np.float64], seen: NDArray[np.float64], unit: float, shown: tuple[bool, bool, bool, bool]
) -> list[Stroke]:
    """Everything to be drawn, in drawing order. seen: what each colour is multiplied with; 0 leaves a point out."""
    pixels = np.trunc(xy).astype(np.int32)
    # A point of a hand or face in the first row or column counts as unseen in both programs.
    drawn = ((seen > 0) & (pixels.min(axis=1) > 0)).tolist()
    places = pixels.tolist()
    values = seen.tolist()
    light = np.trunc(seen * 255).tolist()
    strokes: list[Stroke] = []
    body, hands, face, feet = shown
    if body:
        strokes += _body(xy, seen, unit)
    if feet:
        thickness = _pixels(unit / 2)
        strokes += [
            ("line", (places[ankle], places[toe]), _times(COLORS[color], values[ankle] * values[toe]), thickness)
            for ankle, toe, color in FEET_EDGES
            if values[ankle] > VISIBLE and values[toe] > VISIBLE
        ]
    if hands:
        for hand in (LEFT_HAND, RIGHT_HAND):
            strokes += _hand(places[hand], values[hand], drawn[hand], unit)
    if face:
        radius = _pixels(unit * 3 / 4)
        strokes += [
            ("disc", place, (grey, grey, grey), radius)
            for place, grey, is_drawn in zip(places[FACE], light[FACE], drawn[FACE])
            if is_drawn
        ]
    return strokes


def _body(xy: NDArray[np.float64], seen: NDArray[np.float64], unit: float) -> list[Stroke]:
    points = xy[list(OPENPOSE_BODY)]
    points[NECK] = xy[list(SHOULDERS)].mean(axis=0)
    joints: list[list[float]] = points.tolist()
    scores: list[float] = seen[list(OPENPOSE_BODY)].tolist()
    scores[NECK] = float(min(seen[list(SHOULDERS)]) > VISIBLE)

    strokes: list[Stroke] = []
    half_width = _pixels(unit)
    for (a, b), color in zip(LIMBS, COLORS):
        if scores[a] <= VISIBLE or scores[b] <= VISIBLE:
            continue
        (ax, ay), (bx, by) = joints[a], joints[b]
        outline = cv2.ellipse2Poly(
            (int((ax + bx) / 2), int((ay + by) / 2)),
            (int(math.hypot(ax - bx, ay - by) / 2), half_width),
            int(math.degrees(math.atan2(ay - by, ax - bx))),
            0,
            360,
            1,
        )
        red, green, blue = _times(color, scores[a] * scores[b])
        dimmed = float(int(red * LIMB_DIMMING)), float(int(green * LIMB_DIMMING)), float(int(blue * LIMB_DIMMING))
        strokes.append(("polygon", outline, dimmed, half_width))
    for (x, y), score, color in zip(joints, scores, COLORS):
        if score > VISIBLE:
            strokes.append(("disc", (int(x), int(y)), _times(color, score), half_width))
    return strokes


def _hand(places: list[list[int]], seen: list[float], drawn: list[bool], unit: float) -> list[Stroke]:
    strokes: list[Stroke] = []
    thickness, radius = _pixels(unit / 2), _pixels(unit)
    for (a, b), (red, green, blue) in zip(HAND_EDGES, HAND_COLORS):
        if drawn[a] and drawn[b]:
            light = int(seen[a] * seen[b] * 255)
            strokes.append(("line", (places[a], places[b]), (red * light, green * light, blue * light), thickness))
    strokes += [
        ("disc", place, (0.0, 0.0, float(int(score * 255))), radius)
        for place, score, is_drawn in zip(places, seen, drawn)
        if is_drawn
    ]
    return strokes


def _times(color: tuple[int, int, int], score: float) -> Color:
    red, green, blue = color
    return float(int(red * score)), float(int(green * score)), float(int(blue * score))


def _pixels(length: float) -> int:
    return max(1, round(length))


def _paint(canvas: NDArray[np.uint8], strokes: list[Stroke]) -> None:
    for kind, geometry, color, weight in strokes:
        if kind == "disc":
            cv2.circle(canvas, geometry, weight, color, -1)
        elif kind == "line":
            start, end = geometry
            cv2.line(canvas, start, end, color, weight)
        else:
            cv2.fillConvexPoly(canvas, geometry, color)


def _reach(strokes: list[Stroke]) -> NDArray[np.float64]:
    """Where each stroke is: float64 (N, 5), the ends of a segment and how far from it any of its pixels may lie."""
    reach = []
    for kind, geometry, _, weight in strokes:
        if kind == "disc":
            x, y = geometry
            reach.append((x, y, x, y, weight + 1))
        elif kind == "line":
            (ax, ay), (bx, by) = geometry
            reach.append((ax, ay, bx, by, weight + 1))
        else:
            # The outline starts at one tip; the other is half a turn away.
            (ax, ay), (bx, by) = geometry[0].tolist(), geometry[len(geometry) // 2].tolist()
            reach.append((ax, ay, bx, by, weight + 3))
    return np.array(reach, np.float64).reshape(-1, 5)


_kept = threading.local()


def _take_canvas(size: tuple[int, int]) -> NDArray[np.uint8]:
    """A black canvas (20 MB): the one this thread put back last, or a new one."""
    canvas = getattr(_kept, "canvas", None)
    _kept.canvas = None
    if canvas is None or canvas.shape != (size[1], size[0], 3):
        return np.zeros((size[1], size[0], 3), np.uint8)
    return canvas
