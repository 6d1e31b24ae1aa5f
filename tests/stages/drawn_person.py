"""A person drawn with discs and thick lines, plain enough to ship and real enough for the nets."""

from __future__ import annotations

import itertools

import cv2
import numpy as np

from pipelines.clip import Frames

SKIN, SHIRT, TROUSERS, HAIR, SHOES = (224, 172, 140), (40, 80, 170), (50, 50, 60), (60, 40, 25), (30, 20, 20)


def drawn_person(
    width: int = 360, height: int = 480, at: tuple[float, float] = (0.5, 0.5), tall: float = 0.85, arm: float = 0.6
) -> Frames:
    """uint8 (height, width, 3), RGB: one person who faces the camera.

    at: the middle of the body in 0..1 of the frame. tall: body height in frame heights. arm: radians, how far the
    person's left arm is lifted from hanging.
    """
    frame = np.empty((height, width, 3), np.uint8)
    frame[:] = np.linspace(200, 235, height)[:, None, None]
    return add_person(frame, at, tall, arm)


def drawn_joints(
    width: int = 360, height: int = 480, at: tuple[float, float] = (0.5, 0.5), tall: float = 0.85, arm: float = 0.6
) -> dict[int, tuple[float, float]]:
    """Pixels of some joints of `drawn_person`, by their COCO-WholeBody number."""
    unit = tall * height / 8
    x0, y0 = at[0] * width, at[1] * height - tall * height / 2
    left = (0.85 + 2.6 * np.sin(arm), 1.75 + 2.6 * np.cos(arm))
    right = (-0.85 - 2.6 * np.sin(0.25), 1.75 + 2.6 * np.cos(0.25))
    heads = {9: left, 10: right, 15: (0.5, 7.4), 16: (-0.5, 7.4), 0: (0, 0.62), 31: (0, 0.98), 53: (0, 0.62)}
    heads |= {62: (-0.15, 0.45), 68: (0.15, 0.45)}
    return {joint: (x0 + x * unit, y0 + y * unit) for joint, (x, y) in heads.items()}


def add_person(frame: Frames, at: tuple[float, float], tall: float, arm: float = 0.6) -> Frames:
    """The same frame with one more person, as `drawn_person` takes them."""
    height, width = frame.shape[:2]
    unit = tall * height / 8  # a head's height
    origin = np.array([at[0] * width, at[1] * height - tall * height / 2])

    def point(x: float, y: float) -> tuple[int, int]:
        return tuple((origin + np.array([x, y]) * unit).round().astype(int).tolist())

    def limb(joints: list[tuple[float, float]], colour: tuple[int, int, int], thick: float) -> None:
        for start, end in itertools.pairwise(joints):
            cv2.line(frame, point(*start), point(*end), colour, max(1, round(thick * unit)), cv2.LINE_AA)

    swing = np.array([np.sin(arm), np.cos(arm)])
    for side in (-1, 1):  # the person's right is on the left of the picture
        limb([(0.42 * side, 4.0), (0.5 * side, 5.8), (0.5 * side, 7.5)], TROUSERS, 0.55)
        limb([(0.5 * side, 7.6), (0.75 * side, 7.75)], SHOES, 0.28)
        direction = swing if side == 1 else np.array([-np.sin(0.25), np.cos(0.25)])
        shoulder = np.array([0.85 * side, 1.75])
        elbow, wrist, tip = (shoulder + direction * reach for reach in (1.4, 2.6, 3.1))
        limb([tuple(shoulder), tuple(elbow)], SHIRT, 0.42)
        limb([tuple(elbow), tuple(wrist)], SKIN, 0.28)
        limb([tuple(wrist), tuple(tip)], SKIN, 0.2)
    cv2.fillPoly(frame, [np.array([point(-1, 1.5), point(1, 1.5), point(0.72, 4.2), point(-0.72, 4.2)])], SHIRT)
    limb([(0, 0.9), (0, 1.5)], SKIN, 0.4)
    cv2.ellipse(frame, point(0, 0.4), (round(0.44 * unit), round(0.5 * unit)), 0, 0, 360, HAIR, -1, cv2.LINE_AA)
    cv2.ellipse(frame, point(0, 0.52), (round(0.36 * unit), round(0.46 * unit)), 0, 0, 360, SKIN, -1, cv2.LINE_AA)
    for side in (-1, 1):
        eye = point(0.15 * side, 0.45)
        cv2.circle(frame, eye, max(1, round(0.065 * unit)), (250, 250, 250), -1, cv2.LINE_AA)
        cv2.circle(frame, eye, max(1, round(0.035 * unit)), (20, 20, 20), -1, cv2.LINE_AA)
        limb([(0.08 * side, 0.33), (0.22 * side, 0.33)], HAIR, 0.05)
    limb([(0, 0.45), (0.03, 0.62), (-0.03, 0.63)], (190, 130, 105), 0.05)
    limb([(-0.13, 0.76), (0.13, 0.76)], (170, 60, 60), 0.07)
    return frame
