from __future__ import annotations

import colorsys

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.body.skeleton import Style, draw_skeleton

SIZE = (512, 768)
# The 17 COCO points of someone facing the camera, arms and legs apart: the person's left is on the picture's right.
STANDING = [
    (256, 120), (268, 110), (244, 110), (285, 118), (228, 118), (320, 200), (192, 200), (400, 280), (112, 280),
    (450, 380), (62, 380), (295, 420), (217, 420), (330, 560), (182, 560), (350, 700), (162, 700),
]  # fmt: skip
# OpenPose's limbs in the names of COCO's points, with the colour each has had since 2017.
LIMBS = {
    (6, 8): (255, 170, 0), (8, 10): (255, 255, 0), (5, 7): (170, 255, 0), (7, 9): (85, 255, 0),
    (12, 14): (0, 255, 85), (14, 16): (0, 255, 170), (11, 13): (0, 170, 255), (13, 15): (0, 85, 255),
}  # fmt: skip
JOINTS = {
    0: (255, 0, 0), 6: (255, 170, 0), 8: (255, 255, 0), 10: (170, 255, 0), 5: (85, 255, 0), 7: (0, 255, 0),
    9: (0, 255, 85), 12: (0, 255, 170), 14: (0, 255, 255), 16: (0, 170, 255), 11: (0, 85, 255), 13: (0, 0, 255),
    15: (85, 0, 255), 2: (170, 0, 255), 1: (255, 0, 255), 4: (255, 0, 170), 3: (255, 0, 85),
}  # fmt: skip


def person() -> tuple[np.ndarray, np.ndarray]:
    points, scores = np.zeros((133, 2), np.float32), np.zeros(133, np.float32)
    points[:17], scores[:17] = STANDING, 1
    return points, scores


def hand_at(wrist: tuple[float, float], side: int) -> np.ndarray:
    fingers = [(wrist[0] + side * 20 * (f - 2), wrist[1] + 25 * (j + 1)) for f in range(5) for j in range(4)]
    return np.array([wrist, *fingers], np.float32)


def whole_person(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    points, scores = person()
    angle = np.linspace(0, np.pi, 68)
    points[17:23] = [(360, 740), (380, 735), (345, 715), (150, 740), (130, 735), (165, 715)]
    points[23:91] = np.stack([256 + 40 * np.cos(angle), 120 + 50 * np.sin(angle)], 1)
    points[91:112], points[112:133] = hand_at((450, 380), 1), hand_at((62, 380), -1)
    scores[:] = np.random.default_rng(seed).uniform(0.31, 1, 133)
    return points, scores


def between(a: int, b: int) -> tuple[int, int]:
    x, y = np.mean([STANDING[a], STANDING[b]], axis=0)
    return int(y), int(x)


@pytest.mark.parametrize(("limb", "color"), LIMBS.items())
def test_limbs_have_openpose_colours_at_six_tenths(limb: tuple[int, int], color: tuple[int, int, int]) -> None:
    drawn = draw_skeleton(*person(), SIZE)[between(*limb)]
    assert drawn.tolist() == [int(c * 0.6) for c in color]


@pytest.mark.parametrize(("joint", "color"), JOINTS.items())
def test_joints_have_openpose_colours(joint: int, color: tuple[int, int, int]) -> None:
    x, y = STANDING[joint]
    assert draw_skeleton(*person(), SIZE)[y, x].tolist() == list(color)


def test_the_neck_is_between_the_shoulders_and_leads_to_shoulders_hips_and_nose() -> None:
    drawn = draw_skeleton(*person(), SIZE)
    assert drawn[200, 256].tolist() == [255, 85, 0]
    for end, color in ((6, (255, 0, 0)), (5, (255, 85, 0)), (12, (0, 255, 0)), (11, (0, 255, 255)), (0, (0, 0, 255))):
        x, y = np.mean([STANDING[end], (256, 200)], axis=0)
        assert drawn[int(y), int(x)].tolist() == [int(c * 0.6) for c in color]


def test_no_neck_without_both_shoulders() -> None:
    points, scores = person()
    scores[5] = 0.29
    drawn = draw_skeleton(points, scores, SIZE)
    assert not drawn[200, 256].any()
    assert drawn[between(6, 8)].any()
    assert not drawn[between(5, 7)].any()


def test_limbs_are_eight_pixels_wide_in_the_middle_and_joints_have_a_radius_of_four() -> None:
    drawn = draw_skeleton(*person(), SIZE)
    x, y = STANDING[9]
    row = drawn[y, x : x + 20].any(axis=-1)
    assert row.sum() == 5
    points, scores = person()
    points[7], points[9] = (400, 200), (400, 400)
    assert draw_skeleton(points, scores, SIZE)[300, 380:420].any(axis=-1).sum() == 9


def test_hand_edges_run_through_the_colour_circle_with_blue_points() -> None:
    points, scores = person()
    scores[:] = 0
    points[91:112], scores[91:112] = hand_at((200, 300), 1), 1
    drawn = draw_skeleton(points, scores, SIZE)
    for edge in range(20):
        a = 0 if edge % 4 == 0 else edge
        middle = (points[91 + a] + points[91 + edge + 1]) / 2
        expected = np.rint(np.array(colorsys.hsv_to_rgb(edge / 20, 1, 1)) * 255)
        patch = drawn[int(middle[1]) - 1 : int(middle[1]) + 2, int(middle[0]) - 1 : int(middle[0]) + 2].reshape(-1, 3)
        assert (np.abs(patch - expected).max(axis=1) <= 1).any(), edge
    assert drawn[300, 200].tolist() == [0, 0, 255]


def test_the_face_is_white_points() -> None:
    points, scores = person()
    scores[:] = 0
    points[23:91], scores[23:91] = (100, 100), 1
    drawn = draw_skeleton(points, scores, SIZE)
    assert drawn[100, 97:104].tolist() == [[255, 255, 255]] * 7
    assert not drawn[100, 96].any()


@pytest.mark.parametrize("part", ["body", "hands", "face"])
def test_each_part_can_be_left_out(part: str) -> None:
    points, scores = whole_person()
    full = draw_skeleton(points, scores, SIZE)
    parts = ("body", "hands", "face")
    rest = [name != part for name in parts]
    without = draw_skeleton(points, scores, SIZE, body=rest[0], hands=rest[1], face=rest[2])
    alone = draw_skeleton(points, scores, SIZE, body=not rest[0], hands=not rest[1], face=not rest[2])
    assert (full != without).any()
    assert alone.any()
    assert not without[alone.any(axis=-1) & ~full.any(axis=-1)].any()


def test_feet_are_drawn_only_when_asked_for() -> None:
    points, scores = whole_person()
    assert not draw_skeleton(points, scores, SIZE)[738, 376:382].any()
    assert draw_skeleton(points, scores, SIZE, feet=True)[733:738, 376:382].any()


def slow_confidence(points: np.ndarray, scores: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The definition, step by step on a whole canvas: short side 2160, scores in the colours, resize, BGR to RGB."""
    scale = 2160 / min(size)
    wide, high = int(size[0] * scale), int(size[1] * scale)
    canvas = np.zeros((high, wide, 3), np.uint8)
    relative = points.astype(np.float64) / size

    def pixel(p: np.ndarray) -> tuple[int, int]:
        return int(p[0] * wide), int(p[1] * high)

    body = np.stack([relative[i] for i in (0, 0, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)])
    seen = scores.astype(np.float64)[[0, 0, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3]]
    body[1], seen[1] = (relative[5] + relative[6]) / 2, float(scores[5] > 0.3 and scores[6] > 0.3)
    limbs: tuple = ((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10))
    limbs += ((1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17))
    wheel = [*JOINTS.values()]
    wheel = [wheel[0], (255, 85, 0), *wheel[1:]]
    for (a, b), color in zip(limbs, wheel):
        if seen[a] < 0.3 or seen[b] < 0.3:
            continue
        p, q = body[a] * (wide, high), body[b] * (wide, high)
        middle, half = (p + q) / 2, int(np.linalg.norm(p - q) / 2)
        angle = int(np.degrees(np.arctan2(*(p - q)[::-1])))
        outline = cv2.ellipse2Poly((int(middle[0]), int(middle[1])), (half, 4), angle, 0, 360, 1)
        cv2.fillConvexPoly(canvas, np.array(outline), [int(c * (seen[a] * seen[b])) for c in color])
    canvas = (canvas * 0.6).astype(np.uint8)
    for joint, score, color in zip(body, seen, wheel):
        if score > 0.3:
            cv2.circle(canvas, pixel(joint), 4, [int(c * score) for c in color], -1)
    for start in (91, 112):
        for edge in range(20):
            a, b = start + (0 if edge % 4 == 0 else edge), start + edge + 1
            light = int(float(scores[a]) * float(scores[b]) * 255)
            hue = np.array(colorsys.hsv_to_rgb(edge / 20, 1, 1)) * light
            cv2.line(canvas, pixel(relative[a]), pixel(relative[b]), hue.tolist(), 2)
        for i in range(start, start + 21):
            cv2.circle(canvas, pixel(relative[i]), 4, (0, 0, int(scores[i] * 255)), -1)
    for i in range(23, 91):
        cv2.circle(canvas, pixel(relative[i]), 3, [int(scores[i] * 255)] * 3, -1)
    return cv2.resize(canvas, size)[..., ::-1]


@pytest.mark.parametrize("size", [(512, 768), (768, 512), (576, 1024), (300, 301)])
def test_the_confidence_variant_equals_its_slow_definition(size: tuple[int, int]) -> None:
    points, scores = whole_person()
    points = points * np.array(size, np.float32) / SIZE
    expected = slow_confidence(points, scores, size)
    drawn = draw_skeleton(points, scores, size, "confidence")
    difference = np.abs(drawn.astype(int) - expected)
    assert difference.max() <= 1


def test_the_confidence_variant_leaves_nothing_behind_for_the_next_map() -> None:
    first = draw_skeleton(*whole_person(0), SIZE, "confidence")
    points, scores = whole_person(1)
    draw_skeleton(points * 0.7 + 20, scores, SIZE, "confidence")
    assert (draw_skeleton(*whole_person(0), SIZE, "confidence") == first).all()


def test_the_confidence_variant_exchanges_red_and_blue() -> None:
    points, scores = person()
    points[7], points[9] = (400, 200), (400, 400)
    strip = draw_skeleton(points, scores, SIZE, "confidence")[300, 395:405]
    assert strip[:, 2].max() > strip[:, 0].max()
    assert strip[:, 1].max() > 100


@pytest.mark.parametrize("style", ["plain", "confidence"])
@given(seed=st.integers(0, 2**32 - 1), reach=st.sampled_from([1.0, 3.0, 1e3, 1e12]))
@settings(max_examples=15, deadline=None)
def test_any_numbers_draw_something_or_nothing(style: Style, seed: int, reach: float) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(0.5, reach, (133, 2)) * SIZE
    scores = rng.uniform(-0.5, 1.5, 133)
    points[rng.random(133) < 0.1] = np.nan
    points[rng.random(133) < 0.1] = -np.inf
    scores[rng.random(133) < 0.1] = np.nan
    drawn = draw_skeleton(points, scores, SIZE, style)
    assert drawn.shape == (768, 512, 3)
    assert drawn.dtype == np.uint8


@pytest.mark.parametrize("style", ["plain", "confidence"])
def test_nobody_is_a_black_map(style: Style) -> None:
    assert not draw_skeleton(np.full((133, 2), np.nan), np.zeros(133), SIZE, style).any()


def test_strokes_scale_with_the_picture() -> None:
    points, scores = person()
    points[7], points[9] = (400, 200), (400, 400)
    double = draw_skeleton(points * 2, scores, (1024, 1536))
    assert double[600, 780:820].any(axis=-1).sum() == 17
    assert draw_skeleton(points * 2, scores, (1024, 1536), stroke=4)[600, 780:820].any(axis=-1).sum() == 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((17, 2)), np.zeros(17), SIZE), r"points \(133, 2\)"),
        ((np.zeros((133, 2)), np.zeros(133), (0, 10)), "at least 1x1"),
        ((np.zeros((133, 2)), np.zeros(133), SIZE, "openpose"), "style must be"),
    ],
)
def test_wrong_arguments_are_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_skeleton(*arguments)
