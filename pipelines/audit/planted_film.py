"""Filming the people of the planted set: random actors, rooms, motions and cameras, small and quick."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.body.camera import assumed_camera
from pipelines.body.model import Body
from pipelines.body.raster import Mesh, Rasteriser
from pipelines.body.raster_kernels import vertex_normals
from pipelines.clip import BodySequence, Camera, Frames
from pipelines.demo.film import CAMERA_SHARE, ROOM_LIGHT, WHITE, Actor, act
from pipelines.demo.looks import Look, albedo, padding, paint_face
from pipelines.demo.motions import MOTIONS
from pipelines.demo.rooms import Room, paint_room

SIZE, WIDE = (96, 144), (240, 160)


@dataclass(frozen=True)
class Take:
    """One performance. yaw: radians added to the motion's. place: metres right of the middle. sequence: once filmed."""

    actor: Actor
    room: Room
    room_seed: int
    motion: str
    start: float
    yaw: float
    framing: float
    place: float = 0.0
    size: tuple[int, int] = SIZE
    others: tuple[Take, ...] = ()
    sequence: BodySequence | None = None

    def again(self, rng: np.random.Generator, other_room: bool, done: set[str]) -> Take:
        """The same person in the same clothes doing something else there (`done` grows by it), or in another room."""
        fresh = random_take(rng, 0)
        left = [motion for motion in MOTIONS if motion not in done]
        room = (self.room, self.room_seed)
        if other_room or not left:
            room = (fresh.room, fresh.room_seed)
        else:
            fresh = replace(fresh, motion=left[int(rng.integers(len(left)))])
            done.add(fresh.motion)
        return replace(self, room=room[0], room_seed=room[1], motion=fresh.motion, start=fresh.start, yaw=fresh.yaw,
                       framing=fresh.framing)  # fmt: skip

    def with_others(self, others: Sequence[Take]) -> Take:
        """The same with people standing on both sides, in a wide picture."""
        beside = tuple(replace(o, place=0.75 * (-1) ** k, yaw=0.4 * o.yaw, size=WIDE) for k, o in enumerate(others))
        return replace(self, others=beside, size=WIDE, framing=0.8, yaw=0.3 * self.yaw, motion="wave")

    def at(self, frames: NDArray[np.int64]) -> Take:
        s = self.sequence
        assert s is not None
        per_frame = ("expression", "global_orient", "body_pose", "left_hand_pose", "right_hand_pose", "jaw_pose",
                     "transl", "valid")  # fmt: skip
        return replace(self, sequence=replace(s, **{name: getattr(s, name)[frames] for name in per_frame}))

    def seen_in(self, window: tuple[int, int, int, int], size: tuple[int, int]) -> Take:
        """The camera after the picture was cut to `window` and brought to `size`; its pixels must stay square."""
        s = self.sequence
        assert s is not None
        scale = size[0] / (window[2] - window[0])
        principal = ((s.camera.principal[0] - window[0]) * scale, (s.camera.principal[1] - window[1]) * scale)
        return replace(self, sequence=replace(s, camera=Camera(s.camera.focal * scale, principal, size)))

    def mirrored(self) -> Take:
        """The body in the mirror: sides exchanged, rotations reflected at the plane x = 0."""
        s = self.sequence
        assert s is not None
        flip = np.array([1, -1, -1], np.float32)
        order = np.arange(21)
        pairs = ((0, 1), (3, 4), (6, 7), (9, 10), (12, 13), (15, 16), (17, 18), (19, 20))
        for a, b in pairs:
            order[[a, b]] = b, a
        camera = replace(s.camera, principal=(s.camera.size[0] - s.camera.principal[0], s.camera.principal[1]))
        turned = replace(
            s,
            global_orient=s.global_orient * flip,
            body_pose=s.body_pose[:, order] * flip,
            left_hand_pose=s.right_hand_pose * flip,
            right_hand_pose=s.left_hand_pose * flip,
            jaw_pose=s.jaw_pose * flip,
            transl=s.transl * np.array([-1, 1, 1], np.float32),
            camera=camera,
        )
        return replace(self, sequence=turned)


def random_take(rng: np.random.Generator, person: int) -> Take:
    """A person nobody has seen before, somewhere, doing something. Everything is drawn from `rng`."""

    def colour(low: int = 20, high: int = 235) -> tuple[int, int, int]:
        red, green, blue = rng.integers(low, high, 3).tolist()
        return red, green, blue

    tone = rng.uniform(0.35, 1.0)
    skin = (int(236 * tone), int(190 * tone), int(160 * tone))
    look = Look(skin, colour(15, 150), colour(20, 120), (170, 70, 70), colour(), colour(), colour(), colour(),
                str(rng.choice(["plain", "stripes", "checks"])), sleeve=float(rng.uniform(0.25, 0.66)),
                long_hair=bool(rng.random() < 0.5))  # fmt: skip
    betas = tuple(np.clip(rng.normal(0, 0.9, 10), -2, 2).tolist())
    things = str(rng.choice(["window", "pictures", "bricks", "stripes"]))
    room = Room(colour(90, 225), colour(60, 190), colour(60, 190), boards=float(rng.uniform(0.12, 0.9)), things=things)
    turned = rng.random() < 0.1
    yaw = float(rng.normal(1.9 if turned else 0.0, 0.45))
    return Take(Actor(betas, look), room, int(rng.integers(1 << 30)), str(rng.choice(list(MOTIONS))),
                float(rng.uniform(0, 20)), yaw, float(rng.uniform(0.68, 0.84)))  # fmt: skip


def film_take(body: Body, take: Take, frames: int, fps: Fraction) -> tuple[Frames, BodySequence]:
    """RGB uint8 (T, H, W, 3) and the body that was filmed. Others in the picture stand still."""
    camera = assumed_camera(take.size)
    tall = float(np.ptp(body.shaped(np.asarray(take.actor.betas, np.float32))[:, 1]))
    floor, distance = CAMERA_SHARE * tall, tall * camera.focal / (take.framing * take.size[1])
    room = paint_room(take.room, camera, floor, take.room_seed)
    for other in take.others:
        standing = _perform(body, other, 1, fps, camera, floor, distance * 1.05)
        room = next(_pictures(body, other.actor.look, standing, room)).astype(np.float32)
    sequence = _perform(body, take, frames, fps, camera, floor, distance)
    return np.stack(list(_pictures(body, take.actor.look, sequence, room))), sequence


def _pictures(body: Body, look: Look, sequence: BodySequence, room: NDArray[np.float32]) -> Iterator[Frames]:
    """The dressed body before the room, as the demo films it, without a shadow."""
    place = body.arrays["v_template"]
    thickness = padding(place, body.vertex_parts, look)[:, None]
    face = _face(body, look)
    faces = np.ascontiguousarray(body.faces, np.int32)
    rasteriser = Rasteriser(ROOM_LIGHT)
    normals = np.empty_like(place)
    for vertices in body.vertices(sequence):
        vertex_normals(vertices, faces, normals)
        vertices += thickness * normals
        maps = rasteriser.draw(Mesh(vertices, faces, body.face_parts, (WHITE,) * 3, place), sequence.camera)
        assert maps.attributes is not None
        picture, seen = room.astype(np.uint8), maps.mask
        colour = albedo(maps.attributes[seen], maps.labels[seen], look, face)
        picture[seen] = np.minimum(colour * maps.shaded[seen, :1].astype(np.float32) / WHITE, 255).astype(np.uint8)
        yield np.asarray(cv2.GaussianBlur(picture, (3, 3), 0.6), np.uint8)


@lru_cache(maxsize=256)
def _face(body: Body, look: Look) -> NDArray[np.uint8]:
    return paint_face(body, look)


def _perform(
    body: Body, take: Take, frames: int, fps: Fraction, camera: Camera, floor: float, distance: float
) -> BodySequence:
    times = take.start + np.arange(frames) / float(fps)
    motion = MOTIONS[take.motion](times)
    # Whoever walks does so about the middle of the picture.
    place = motion.place - motion.place.mean(axis=0) + [take.place, 0.0]
    # Nobody shows only the back of the head, which the demo's painter does not draw.
    motion = replace(motion, yaw=np.clip(motion.yaw + take.yaw, -2.0, 2.0), place=place)
    return act(body, take.actor, motion, times, camera, floor, distance)
