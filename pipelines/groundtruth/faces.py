"""The face of a person as a picture from the front: the demo people's, with brows, beard, glasses and paint over it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.body.model import Body
from pipelines.demo.looks import BROWS, EYES, FACE_LEFT, FACE_SCALE, FACE_TOP, LIPS_OUTER, Look, paint_face
from pipelines.groundtruth.people import Features

Picture = NDArray[np.uint8]
_MILLIMETRE = FACE_SCALE / 1000


def paint_identity(body: Body, look: Look, features: Features) -> Picture:
    """RGB, as `paint_face` lays it out."""
    picture = paint_face(body, look).astype(np.float32)
    marks = _landmarks(body)
    hair = np.array(features.hair, np.float32)
    for brow in BROWS:
        _line(picture, marks[brow], hair * 0.6, 4 + 9 * features.brows, 0.9)
    if features.beard:
        # From ear to ear below the mouth, which stays free.
        beard = np.zeros(picture.shape[:2], np.uint8)
        cv2.ellipse(beard, _at(0.0, 0.225), _axes(0.075, 0.075), 0, 0, 180, 255, -1)
        free = np.zeros_like(beard)
        cv2.fillPoly(free, [cv2.convexHull(np.rint(marks[LIPS_OUTER]).astype(np.int32))], 255)
        beard[cv2.dilate(free, np.ones((7, 7), np.uint8)) > 0] = 0
        beard[: _at(0.0, 0.222)[1]] = 0
        _blend(picture, beard, hair * 0.75, 3, features.beard)
    if features.moustache:
        lip, nose = marks[LIPS_OUTER][:7], marks[14:19].mean(axis=0)
        middle = lip * 0.62 + nose * 0.38 + (lip - lip.mean(axis=0)) * (0.25, 0)
        _line(picture, middle, hair * 0.75, 9, features.moustache)
    if features.paint:
        band = np.zeros(picture.shape[:2], np.uint8)
        cv2.rectangle(band, _at(-0.1, 0.275), _at(0.1, 0.252), 255, -1)
        _blend(picture, band, np.array(features.paint_colour, np.float32), 2, 0.85 * features.paint)
    if features.glasses:
        colour = np.array(features.glasses_colour, np.float32)
        inner = []
        for centre in (marks[eye].mean(axis=0) for eye in EYES):
            turned = np.linspace(0, 2 * np.pi, 40)
            rim = centre + np.stack([np.cos(turned) * 21, np.sin(turned) * 17], 1) * _MILLIMETRE
            _line(picture, rim, colour, 5, features.glasses)
            outward = np.array([np.sign(centre[0] - marks[10][0]), 0.0]) * _MILLIMETRE
            _line(picture, np.stack([centre + 21 * outward, centre + 90 * outward]), colour, 4, features.glasses)
            inner.append(centre - 21 * outward)
        _line(picture, np.array(inner), colour, 4, features.glasses)
    return np.clip(picture, 0, 255).astype(np.uint8)


def seen_from(face: Picture, pixels_per_metre: float) -> Picture:
    """The face without what is finer than the picture's pixels, which would flicker."""
    sigma = 0.45 * FACE_SCALE / pixels_per_metre
    return face if sigma < 0.5 else np.asarray(cv2.GaussianBlur(face, (0, 0), sigma), np.uint8)


def _landmarks(body: Body) -> NDArray[np.float64]:
    """The 51 face landmarks in pixels of the face's picture."""
    corners = body.arrays["v_template"][body.faces[body.arrays["lmk_faces_idx"]]]
    place = np.einsum("lk,lkd->ld", body.arrays["lmk_bary_coords"], corners)
    return np.stack([place[:, 0] - FACE_LEFT, FACE_TOP - place[:, 1]], -1) * FACE_SCALE


def _at(x: float, y: float) -> tuple[int, int]:
    return round((x - FACE_LEFT) * FACE_SCALE), round((FACE_TOP - y) * FACE_SCALE)


def _axes(width: float, height: float) -> tuple[int, int]:
    return round(width * FACE_SCALE), round(height * FACE_SCALE)


def _line(
    picture: NDArray[np.float32],
    points: NDArray[np.float64],
    colour: NDArray[np.float32],
    width: float,
    strength: float,
) -> None:
    """width: millimetres."""
    drawn = np.zeros(picture.shape[:2], np.uint8)
    cv2.polylines(drawn, [np.rint(points).astype(np.int32)], False, 255, max(1, round(width * _MILLIMETRE)))
    _blend(picture, drawn, colour, 0.8, strength)


def _blend(
    picture: NDArray[np.float32], drawn: NDArray[np.uint8], colour: NDArray[np.float32], blur: float, strength: float
) -> None:
    """blur: millimetres."""
    weight = cv2.GaussianBlur(drawn, (0, 0), blur * _MILLIMETRE).astype(np.float32)[..., None] / 255 * strength
    picture += weight * (colour - picture)
