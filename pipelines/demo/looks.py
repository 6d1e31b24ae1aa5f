"""What the demo people look like: skin, hair, a painted face, clothes. Colours are functions of the place on the body.

A pixel's place is known in the rest pose (y up, face along +z, left on +x, metres), so patterns move with the body
whatever its resolution. The face is a small picture projected from the front.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.body.model import Body
from pipelines.body.parts import PART_NAMES

Colour = tuple[int, int, int]
Floats = NDArray[np.float32]

def _parts(*endings: str) -> NDArray[np.bool_]:
    """A table over part labels: those whose name ends with one of these words."""
    return np.array([name.split()[-1] in endings for name in PART_NAMES])


_TRUNK = _parts("hips", "abdomen", "chest")
_ARMS = _parts("shoulder", "arm", "forearm")
_LEGS = _parts("hips", "abdomen", "chest", "thigh", "shin", "foot")
_NECK, _SCALP, _HEAD = _parts("neck"), _parts("head", "neck"), _parts("head", "jaw", "neck")
SKIN, TOP, TROUSERS, SHOES = range(4)

# The painted face covers these bounds of the rest pose, in metres, at so many pixels a metre.
FACE_LEFT, FACE_TOP, FACE_SIZE, FACE_SCALE = -0.1, 0.42, 0.26, 2000.0
# Where the body file's 51 face landmarks have what.
BROWS = (slice(0, 5), slice(5, 10))
EYES = (slice(19, 25), slice(25, 31))
NOSTRILS = (15, 17)
LIPS_OUTER, LIPS_INNER = slice(31, 43), slice(43, 51)


@dataclass(frozen=True)
class Look:
    """skin, hair, eyes, lips, top, trousers, shoes, pattern: RGB.

    pattern_kind: "plain", "stripes" or "checks" on the top. sleeve: where sleeves end, metres from the middle (0.2
    short, 0.65 long). waist: height at which the top ends. legs: height at which trousers end. long_hair: to the neck.
    """

    skin: Colour
    hair: Colour
    eyes: Colour
    lips: Colour
    top: Colour
    pattern: Colour
    trousers: Colour
    shoes: Colour
    pattern_kind: str = "plain"
    sleeve: float = 0.28
    waist: float = -0.3
    legs: float = -1.18
    long_hair: bool = False


def is_hair(place: Floats, long_hair: bool) -> Floats:
    """0 to 1 (...,): how much hair a place (..., 3) of the head has."""
    x, y, z = np.abs(place[..., 0]), place[..., 1], place[..., 2]
    # The hairline runs from high on the forehead down behind the ears.
    line = np.interp(z, [-0.05, 0.03, 0.075, 0.11, 0.15, 0.2], [0.2, 0.215, 0.285, 0.325, 0.352, 0.36])
    if long_hair:
        line = np.interp(z, [-0.05, 0.05, 0.09, 0.12, 0.15, 0.2], [0.13, 0.15, 0.26, 0.325, 0.352, 0.36])
    ear = (x > 0.066) & (y > 0.225) & (y < 0.305) & (z > 0.01) & (z < 0.085) & (not long_hair)
    return np.where(ear, 0, np.clip((y - line) / 0.008 + 0.5, 0, 1)).astype(np.float32)


def padding(place: Floats, parts: NDArray[np.uint8], look: Look) -> Floats:
    """Metres (V,) by which hair, clothes and shoes stand off the skin at each vertex; place (V, 3) in the rest pose."""
    thick = np.array([0.0, 0.007, 0.006, 0.009])[_cover(place, parts, look)]
    return (thick + _SCALP[parts] * 0.016 * is_hair(place, look.long_hair)).astype(np.float32)


def _cover(place: Floats, parts: NDArray[np.uint8], look: Look) -> NDArray[np.uint8]:
    """What a place wears: SKIN (nothing), TOP, TROUSERS or SHOES."""
    x, y = np.abs(place[..., 0]), place[..., 1]
    collar = (y < 0.125 - 0.25 * np.clip(0.055 - x, 0, 1)) | (x > 0.09)
    trunk = _TRUNK[parts] & (y > look.waist)
    top = collar & (trunk | (_ARMS[parts] & (x < look.sleeve)) | (_NECK[parts] & (y < 0.13)))
    trousers = _LEGS[parts] & (y <= look.waist) & (y > look.legs)
    cover = np.where(y < -1.2, np.uint8(SHOES), np.uint8(SKIN))
    cover[top] = TOP
    cover[trousers] = TROUSERS
    return cover


def albedo(place: Floats, parts: NDArray[np.uint8], look: Look, face: NDArray[np.uint8]) -> Floats:
    """RGB (N, 3), 0 to 255, of places (N, 3) in the rest pose with their part labels (N,). face: see `paint_face`."""
    x, y, z = place.T
    cover = _cover(place, parts, look)
    base = np.array([look.skin, look.top, look.trousers, look.shoes], np.float32)
    colour = base[cover]
    on = cover == TOP
    if look.pattern_kind != "plain":
        colour[on & _pattern(place, look.pattern_kind)] = look.pattern
    worn = np.flatnonzero(cover)
    fold = 0.05 * np.sin(35 * x[worn] + 20 * z[worn]) * np.sin(14 * y[worn])
    weave = 0.025 * np.sin(400 * x[worn]) * np.sin(400 * y[worn])
    colour[worn] *= (1 + fold + weave)[:, None]
    colour[(cover == TROUSERS) & (y > look.waist - 0.03)] *= 0.6
    colour[(cover == SHOES) & (y < -1.275)] = (235, 235, 230)

    head = np.flatnonzero(_HEAD[parts])
    front = head[z[head] > 0.06]
    if len(front):  # none in a view from behind, and OpenCV refuses to sample nothing
        colour[front] = _sample(face, place[front])
    x, y, z = place[head].T
    hair = is_hair(place[head], look.long_hair)[:, None]
    strand = (1 + 0.18 * np.sin(260 * x + 30 * np.sin(20 * y)) * np.sin(50 * z + 8 * y))[:, None]
    colour[head] += hair * (np.array(look.hair, np.float32) * strand - colour[head])

    for side, sign in (("left eye", 1), ("right eye", -1)):
        ball = np.flatnonzero(parts == PART_NAMES.index(side))
        radius = np.hypot(place[ball, 0] - sign * 0.0300, place[ball, 1] - 0.2905)
        rings = np.array([(12, 10, 10), look.eyes, (240, 238, 235)], np.float32)
        colour[ball] = rings[np.digitize(radius, [0.0030, 0.0068])]
    return colour


def _pattern(place: Floats, kind: str) -> NDArray[np.bool_]:
    x, y = place[:, 0], place[:, 1]
    if kind == "stripes":
        return np.sin(2 * np.pi * y / 0.055) > 0.3
    if kind == "checks":
        return np.sin(2 * np.pi * y / 0.07) * np.sin(2 * np.pi * x / 0.07) > 0
    return np.zeros(len(place), bool)


def _to_picture(place: NDArray[np.floating]) -> NDArray[np.float32]:
    return (np.stack([place[..., 0] - FACE_LEFT, FACE_TOP - place[..., 1]], -1) * FACE_SCALE).astype(np.float32)


def _sample(face: NDArray[np.uint8], place: Floats) -> Floats:
    at = _to_picture(place) - 0.5
    # `remap` takes at most 32767 columns: the places are laid out in rows.
    rows = -(-len(at) // 4096)
    laid = np.zeros((2, rows * 4096), np.float32)
    laid[:, : len(at)] = at.T
    columns, lines = laid.reshape(2, rows, 4096)
    sampled = cv2.remap(face, columns, lines, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return sampled.reshape(-1, 3)[: len(at)].astype(np.float32)


def paint_face(body: Body, look: Look) -> NDArray[np.uint8]:
    """The face from the front as a picture, RGB: brows, lids, lashes, nostrils, lips, cheeks on skin."""
    triangles = body.faces[body.arrays["lmk_faces_idx"]]
    corners = body.arrays["v_template"][triangles]
    marks = _to_picture(np.einsum("lk,lkd->ld", body.arrays["lmk_bary_coords"], corners))
    side = int(FACE_SIZE * FACE_SCALE)
    skin = np.array(look.skin, np.float32)
    picture = np.empty((side, side, 3), np.float32)
    picture[:] = skin

    def blend(draw: NDArray[np.uint8], colour: NDArray[np.float32], blur: float, strength: float) -> None:
        weight = cv2.GaussianBlur(draw, (0, 0), blur).astype(np.float32)[..., None] / 255 * strength
        picture[:] += weight * (colour - picture)

    def blank() -> NDArray[np.uint8]:
        return np.zeros((side, side), np.uint8)

    def pixels(points: NDArray[np.float32]) -> NDArray[np.int32]:
        return np.rint(points).astype(np.int32)

    millimetre = FACE_SCALE / 1000
    cheeks = blank()
    for x in (-0.042, 0.042):
        centre = pixels(_to_picture(np.array([x, 0.255, 0])))
        cv2.circle(cheeks, centre.tolist(), int(16 * millimetre), 255, -1)
    blend(cheeks, skin * (1.0, 0.78, 0.78), 8 * millimetre, 0.45)
    nose = blank()
    for a, b in ((14, 10), (18, 10)):
        cv2.line(nose, pixels(marks[a]).tolist(), pixels(marks[b]).tolist(), 255, int(3 * millimetre))
    blend(nose, skin * 0.8, 2.5 * millimetre, 0.35)
    for eye in EYES:
        lid = blank()
        cv2.fillPoly(lid, [pixels(marks[eye] + (0, -2 * millimetre))], 255)
        around = np.asarray(cv2.dilate(lid, np.ones((9, 9), np.uint8), iterations=2), np.uint8)
        blend(around, skin * 0.72, 2 * millimetre, 0.55)
        lashes = blank()
        cv2.polylines(lashes, [pixels(marks[eye])], True, 255, int(1.6 * millimetre))
        cv2.polylines(lashes, [pixels(marks[eye][:4])], False, 255, int(2.6 * millimetre))
        blend(lashes, np.array((25, 18, 16), np.float32), 0.5 * millimetre, 0.9)
    for brow in BROWS:
        drawn = blank()
        cv2.polylines(drawn, [pixels(marks[brow] + (0, -1.5 * millimetre))], False, 255, int(5.5 * millimetre))
        blend(drawn, np.array(look.hair, np.float32) * 0.6, 1.0 * millimetre, 0.9)
    holes = blank()
    for mark in NOSTRILS:
        centre = pixels(marks[mark] + (0, -0.5 * millimetre))
        cv2.ellipse(holes, centre.tolist(), (int(3.5 * millimetre), int(2 * millimetre)), 0, 0, 360, 255, -1)
    blend(holes, skin * 0.3, 0.7 * millimetre, 0.9)
    lips = blank()
    cv2.fillPoly(lips, [pixels(marks[LIPS_OUTER])], 255)
    blend(lips, np.array(look.lips, np.float32), 0.8 * millimetre, 0.9)
    mouth = blank()
    cv2.polylines(mouth, [pixels(marks[LIPS_INNER])], True, 255, int(1.8 * millimetre))
    blend(mouth, np.array(look.lips, np.float32) * 0.35, 0.6 * millimetre, 0.9)
    return np.clip(picture, 0, 255).astype(np.uint8)
