"""A clip as it was drawn: who does what, where, in which clothes, light and camera; and the body that is filmed."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from pipelines.body.model import Body
from pipelines.body.raster import Lighting
from pipelines.clip import BodySequence, Camera
from pipelines.demo.film import Actor, act
from pipelines.demo.looks import Look
from pipelines.demo.rooms import Room
from pipelines.groundtruth.motions import FAMILIES, Style, perform_motion
from pipelines.groundtruth.openings import SHARES, opened, opening_frames
from pipelines.groundtruth.people import SPLITS, Colour, Features, Person

FRAMINGS: dict[str, tuple[float, float, float]] = {
    "full": (-0.06, 1.08, 0.2), "knees": (0.24, 1.07, 0.45), "waist": (0.44, 1.06, 0.35),
}  # fmt: skip
"""What of the body the picture shows, from and to, in body heights above the floor; and the share of clips."""


@dataclass(frozen=True)
class Clothes:
    top: Colour
    pattern: Colour
    pattern_kind: str
    sleeve: float
    trousers: Colour
    shoes: Colour


@dataclass(frozen=True)
class Performance:
    """What is done, and how the clip begins. `clips.json` keeps it; anybody's body can be given it."""

    motion: str
    style: Style
    opening: str
    opening_side: str


@dataclass(frozen=True)
class Clip:
    """Everything of a clip but the body. focal: over the picture's side. framing: a key of FRAMINGS.

    light_tint: RGB factors of the whole picture.
    """

    name: str
    person: str
    performance: Performance
    clothes: Clothes
    room: Room
    room_seed: int
    lighting: Lighting
    light_tint: tuple[float, float, float]
    framing: str
    focal: float


def draw_clip(seed: int, person: Person, number: int) -> Clip:
    """The person's clip of this number; the same whatever else is made. Motions are those of the person's split."""
    index = int(person.name.rpartition("p")[2])
    rng = np.random.default_rng([seed, SPLITS.index(person.split), index, 1, number])

    def colour(low: int, high: int) -> Colour:
        red, green, blue = rng.integers(low, high, 3).tolist()
        return red, green, blue

    def real(low: float, high: float) -> float:
        return round(float(rng.uniform(low, high)), 4)

    # A person does each motion once before any is repeated, in an order of their own.
    their = np.random.default_rng([seed, SPLITS.index(person.split), index, 2])
    order = their.permutation(list(FAMILIES[person.split]))
    motion = str(order[number % len(order)])
    style = Style(real(0.8, 1.25), real(0, 10), bool(rng.random() < 0.5), real(-0.35, 0.35))
    opening = str(rng.choice(list(SHARES), p=list(SHARES.values())))
    performance = Performance(motion, style, opening, str(rng.choice(["left", "right"])))
    kind = str(rng.choice(["plain", "stripes", "checks"]))
    clothes = Clothes(colour(20, 235), colour(20, 235), kind, real(0.25, 0.66), colour(20, 235), colour(15, 235))
    things = str(rng.choice(["window", "pictures", "bricks", "stripes"]))
    room = Room(colour(90, 225), colour(60, 190), colour(60, 190), boards=real(0.12, 0.9), things=things)
    side, height = real(-1.2, 1.2), real(0.3, 1.1)
    lighting = Lighting(real(0.4, 0.58), real(0.06, 0.2), (((side, -height, -0.6), real(0.25, 0.55)),
                                                           ((-side, -0.2, -0.4), real(0.02, 0.14))))  # fmt: skip
    tint = (real(0.9, 1.08), real(0.94, 1.04), real(0.88, 1.08))
    framing = str(rng.choice(list(FRAMINGS), p=[share for _, _, share in FRAMINGS.values()]))
    return Clip(
        f"{person.name}-{number:02d}-{motion}", person.name, performance, clothes, room, int(rng.integers(1 << 30)),
        lighting, tint, framing, real(1.1, 1.6),
    )  # fmt: skip


def look_of(features: Features, clothes: Clothes) -> Look:
    return Look(
        features.skin, features.hair, features.eyes, features.lips, clothes.top, clothes.pattern, clothes.trousers,
        clothes.shoes, clothes.pattern_kind, clothes.sleeve, long_hair=bool(features.long_hair),
    )  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """Where the camera stands. height: metres above the floor, level. distance: metres to the person."""

    camera: Camera
    height: float
    distance: float


def stage_of(body: Body, person: Person, clip: Clip, size: int) -> Stage:
    """The camera that frames this person: a taller one is seen from higher up and farther off."""
    tall = float(np.ptp(body.shaped(np.asarray(person.betas, np.float32))[:, 1]))
    low, high, _ = FRAMINGS[clip.framing]
    camera = Camera(clip.focal * size, (size / 2, size / 2), (size, size))
    return Stage(camera, (low + high) / 2 * tall, (high - low) * tall * clip.focal)


def perform(
    body: Body, person: Person, clip: Clip, performance: Performance, frames: int, size: int, fps: Fraction
) -> BodySequence:
    """The person in the camera of `clip` doing `performance`, which is the clip's own or another's. T = frames."""
    stage = stage_of(body, person, clip, size)
    seconds = np.arange(frames) / float(fps)
    motion = perform_motion(performance.motion, performance.style, seconds)
    motion = opened(motion, performance.opening, performance.opening_side, stage.distance)
    look = look_of(person.features, clip.clothes)
    return act(body, Actor(person.betas, look), motion, seconds, stage.camera, stage.height, stage.distance)


def opening_of(clip: Clip, frames: int) -> int:
    """How many frames the clip's opening lasts; 0 for a plain one."""
    return 0 if clip.performance.opening == "plain" else opening_frames(frames)
