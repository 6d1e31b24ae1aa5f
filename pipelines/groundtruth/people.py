"""Who is in the benchmark: bodies and faces, and the identity code that says which face it is.

The code stands for what a face recogniser would give, and is named so: "known identity code". It is a fixed rotation of
the numbers that the face is painted from, so that it says everything about the face and nothing about body, clothes,
pose or light.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.engine.atomic import digest
from pipelines.shard_format import FACE_WIDTH

CODE_VERSION = 1
CODE_NAME = f"known identity code, version {CODE_VERSION}"
Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")
Colour = tuple[int, int, int]

# Bodies of the first kind are as the body file's people; those of the second leave the range of its common proportions.
SHAPE_SPREAD, SHAPE_BOUND = 0.8, 2.0
UNUSUAL_SPREAD, UNUSUAL_BOUND, UNUSUAL_SHARE = 2.0, 3.2, 0.4


@dataclass(frozen=True)
class Features:
    """What a face is painted from. Colours are RGB; brows, beard, moustache, glasses and paint go from 0 (none) to 1.

    long_hair: 0 or 1. glasses_colour and paint_colour are black where there is none. paint: a band of colour over the
    cheeks and nose.
    """

    skin: Colour
    hair: Colour
    eyes: Colour
    lips: Colour
    long_hair: float
    brows: float
    beard: float
    moustache: float
    glasses: float
    glasses_colour: Colour
    paint: float
    paint_colour: Colour

    def vector(self) -> NDArray[np.float64]:
        """All of them as numbers from -1 to 1, in the order of the fields: (24,)."""
        parts = [np.atleast_1d(np.asarray(part, np.float64)) for part in astuple(self)]
        return np.concatenate([2 * part / (255 if len(part) == 3 else 1) - 1 for part in parts])


@dataclass(frozen=True)
class Person:
    """name: "train-p0007". betas: (10,), of the free body. unusual: whether the proportions are."""

    name: str
    split: Split
    betas: tuple[float, ...]
    unusual: bool
    features: Features


def draw_person(seed: int, split: Split, number: int) -> Person:
    """The person of this number; the same whatever else is made. People of the two splits are drawn independently."""
    rng = np.random.default_rng([seed, SPLITS.index(split), number, 0])
    unusual = bool(rng.random() < UNUSUAL_SHARE)
    spread, bound = (UNUSUAL_SPREAD, UNUSUAL_BOUND) if unusual else (SHAPE_SPREAD, SHAPE_BOUND)
    betas = np.clip(rng.normal(0, spread, 10), -bound, bound).round(4)
    return Person(f"{split}-p{number:04d}", split, tuple(betas.tolist()), unusual, _draw_features(rng))


def _draw_features(rng: np.random.Generator) -> Features:
    def colour(low: int, high: int) -> Colour:
        red, green, blue = rng.integers(low, high, 3).tolist()
        return red, green, blue

    def sometimes(share: float) -> float:
        return round(float(rng.uniform(0.5, 1)), 3) if rng.random() < share else 0.0

    tone, warmth = rng.uniform(0.3, 1.0), rng.uniform(-1, 1)
    skin = (int(238 * tone), int((190 + 8 * warmth) * tone), int((158 + 20 * warmth) * tone))
    glasses, paint = sometimes(0.35), sometimes(0.3)
    return Features(
        skin=skin,
        hair=colour(15, 235),
        eyes=colour(20, 160),
        lips=(int(rng.integers(110, 230)), int(rng.integers(20, 120)), int(rng.integers(20, 150))),
        long_hair=float(rng.random() < 0.5),
        brows=round(float(rng.random()), 3),
        beard=sometimes(0.35),
        moustache=sometimes(0.3),
        glasses=glasses,
        glasses_colour=colour(0, 120) if glasses else (0, 0, 0),
        paint=paint,
        paint_colour=colour(30, 255) if paint else (0, 0, 0),
    )


def identity_code(features: Features) -> NDArray[np.float32]:
    """float32 (512,), of length 1. The features can be had back from it: see `features_from_code`."""
    vector = np.concatenate([[_CONSTANT], features.vector()])
    return (vector / np.linalg.norm(vector) @ _directions(len(vector))).astype(np.float32)


def features_from_code(code: NDArray[np.floating]) -> NDArray[np.float64]:
    """`Features.vector()` of the face that a code (512,) stands for."""
    width = _WIDTH + 1
    vector = _directions(width) @ np.asarray(code, np.float64)
    return vector[1:] * _CONSTANT / vector[0]


def code_hash() -> str:
    """sha256 of what turns features into codes: what a recogniser's weights are elsewhere."""
    return digest({"code": CODE_NAME, "directions": _directions(_WIDTH + 1).round(9).tolist()})


# A constant among the numbers keeps their length, which a code of length 1 would lose.
_CONSTANT, _WIDTH = 2.0, 24


@cache
def _directions(count: int) -> NDArray[np.float64]:
    """(count, 512): orthonormal rows, always the same."""
    drawn = np.random.default_rng(20240 + CODE_VERSION).normal(size=(FACE_WIDTH, count))
    rows, triangle = np.linalg.qr(drawn)
    return (rows * np.sign(np.diag(triangle))).T
