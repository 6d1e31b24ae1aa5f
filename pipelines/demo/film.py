"""From an actor, a motion and a room to the frames of a demo video."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.body import raster_kernels as kernels
from pipelines.body.camera import assumed_camera
from pipelines.body.compiled import compiled
from pipelines.body.model import Body
from pipelines.body.raster import FLAT, Lighting, Mesh, Rasteriser
from pipelines.clip import BodySequence, Camera, Frames
from pipelines.demo.looks import Look, albedo, padding, paint_face
from pipelines.demo.motions import MOTIONS, Motion
from pipelines.demo.rooms import Room, paint_room

ROOM_LIGHT = Lighting(
    ambient=0.48, head=0.16, lights=(((-0.5, -0.8, -0.55), 0.46), ((0.9, -0.2, -0.35), 0.14), ((0.1, -1.0, 0.5), 0.1))
)
# The grey that stands for "as bright as the colour itself"; light may go beyond it.
WHITE = 170.0
# The camera stands a little above the middle of the body, or at this height in metres in an empty room.
CAMERA_SHARE, CAMERA_HEIGHT = 0.54, 0.95
# How far a shadow moves to the right and away from the camera for each metre above the floor.
SHADOW = (0.45, 0.3)
CHUNK = 24


@dataclass(frozen=True)
class Actor:
    """betas: (10,), the shape of the body. look: clothes and colours."""

    betas: tuple[float, ...]
    look: Look


@dataclass(frozen=True)
class Shot:
    """One take in one room. actor and motion are None for an empty room. framing: body height over picture height."""

    room: Room
    seconds: float
    actor: Actor | None = None
    motion: str | None = None
    framing: float = 0.8
    start: float = 0.0


@dataclass(frozen=True)
class Film:
    """A video: its shots follow each other without a transition. size: (width, height)."""

    name: str
    title: str
    size: tuple[int, int]
    fps: Fraction
    shots: tuple[Shot, ...]


def film_frames(body: Body, film: Film, seed: int) -> Iterator[Frames]:
    """RGB uint8 (H, W, 3), frame by frame; the same for the same film, seed and body file."""
    for number, shot in enumerate(film.shots):
        count = max(2, round(shot.seconds * film.fps))
        times = shot.start + np.arange(count) / float(film.fps)
        camera = assumed_camera(film.size)
        if shot.actor is None or shot.motion is None:
            yield from _empty(paint_room(shot.room, camera, CAMERA_HEIGHT, seed + 101 * number), times)
            continue
        tall = float(np.ptp(body.shaped(np.asarray(shot.actor.betas, np.float32))[:, 1]))
        floor, distance = CAMERA_SHARE * tall, tall * camera.focal / (shot.framing * film.size[1])
        room = paint_room(shot.room, camera, floor, seed + 101 * number)
        sequence = act(body, shot.actor, MOTIONS[shot.motion](times), times, camera, floor, distance)
        yield from _acted(body, shot.actor, sequence, floor, room)


def _empty(room: NDArray[np.float32], times: NDArray[np.float64]) -> Iterator[Frames]:
    """A ball rolls through the room, so that the video is not a still."""
    height, width = room.shape[:2]
    for t in times - times[0]:
        picture = room.copy()
        centre = (int(width * (0.1 + 0.2 * t)), int(height * 0.88))
        cv2.ellipse(picture, (centre[0] + 8, centre[1] + 24), (30, 6), 0, 0, 360, (60, 55, 50), -1, cv2.LINE_AA)
        cv2.circle(picture, centre, 26, (200, 70, 40), -1, cv2.LINE_AA)
        cv2.circle(picture, (centre[0] - 8, centre[1] - 9), 6, (240, 170, 150), -1, cv2.LINE_AA)
        yield np.rint(picture).astype(np.uint8)


def _acted(
    body: Body, actor: Actor, sequence: BodySequence, floor: float, room: NDArray[np.float32]
) -> Iterator[Frames]:
    camera = sequence.camera
    place = body.arrays["v_template"]
    thickness = padding(place, body.vertex_parts, actor.look)[:, None]
    face = paint_face(body, actor.look)
    faces = np.ascontiguousarray(body.faces, np.int32)
    rasteriser, flat = Rasteriser(ROOM_LIGHT), Rasteriser(FLAT)
    normals = np.empty_like(place)
    for start in range(0, len(sequence), CHUNK):
        posed = body.vertices(sequence, slice(start, start + CHUNK))
        for vertices in posed:
            kernels.vertex_normals(vertices, faces, normals)
            vertices += thickness * normals
            maps = rasteriser.draw(Mesh(vertices, faces, body.face_parts, (WHITE,) * 3, place), camera)
            shadow = _shadow(vertices, faces, camera, floor, flat)
            picture = np.empty((*shadow.shape, 3), np.uint8)
            _darken(room, shadow, picture)
            seen = maps.mask
            assert maps.attributes is not None
            colour = albedo(maps.attributes[seen], maps.labels[seen], actor.look, face)
            light = maps.shaded[seen, :1].astype(np.float32) / WHITE
            picture[seen] = np.minimum(colour * light, 255).astype(np.uint8)
            # What a lens does: no edge is sharper than a pixel.
            yield np.asarray(cv2.GaussianBlur(picture, (3, 3), 0.6), np.uint8)


def _shadow(
    vertices: NDArray[np.float32], faces: NDArray[np.int32], camera: Camera, floor: float, rasteriser: Rasteriser
) -> NDArray[np.uint8]:
    """The body's shadow on the floor, uint8 (H, W), softened; 255 is the full shadow."""
    above = floor - vertices[:, 1:2]
    cast = vertices + above * np.array([SHADOW[0], 1.0, SHADOW[1]], np.float32)
    small = camera.scaled((camera.size[0] // 2, camera.size[1] // 2))
    mask = rasteriser.draw(Mesh(cast.astype(np.float32), faces, None, (255.0,) * 3), small).alpha
    soft = cv2.GaussianBlur(mask, (0, 0), 3.0)
    return np.asarray(cv2.resize(soft, camera.size, interpolation=cv2.INTER_LINEAR), np.uint8)


@compiled
def _darken(room, shadow, picture):
    for y in range(room.shape[0]):
        for x in range(room.shape[1]):
            kept = np.float32(1) - np.float32(0.5 / 255) * shadow[y, x]
            for k in range(3):
                picture[y, x, k] = np.uint8(room[y, x, k] * kept + np.float32(0.5))


def act(
    body: Body,
    actor: Actor,
    motion: Motion,
    times: NDArray[np.float64],
    camera: Camera,
    floor: float,
    distance: float,
) -> BodySequence:
    """The actor's body doing a motion, its lowest point on the floor `floor` metres below the camera."""
    count = len(times)
    betas = np.asarray(actor.betas, np.float32)
    half = motion.yaw[:, None] / 2
    # Upright before the camera is a half turn about x; the turn about the body's own vertical comes first.
    orient = np.pi * np.concatenate([np.cos(half), np.zeros_like(half), np.sin(half)], 1)
    hands = np.zeros((2, count, 15, 3), np.float32)
    hands[0, :, :12, 2] = -1.1 * motion.curl[:, :1]
    hands[1, :, :12, 2] = 1.1 * motion.curl[:, 1:]
    expression = 0.3 * np.sin(times[:, None] * np.linspace(0.4, 1.6, 10) + np.arange(10))
    jaw = np.zeros((count, 3), np.float32)
    jaw[:, 0] = 0.03 + 0.03 * np.sin(2.3 * times)
    transl = np.zeros((count, 3), np.float32)
    transl[:, 0] = motion.place[:, 0]
    transl[:, 2] = distance + motion.place[:, 1]
    sequence = BodySequence(
        betas, expression.astype(np.float32), orient.astype(np.float32), motion.body_pose, hands[0], hands[1], jaw,
        transl, camera, False, body.hash, np.ones(count, bool),
    )  # fmt: skip
    for start in range(0, count, CHUNK):
        chunk = slice(start, min(start + CHUNK, count))
        lowest = body.vertices(sequence, chunk)[..., 1].max(axis=1)
        transl[chunk, 1] = floor - lowest - motion.lift[chunk]
    return sequence
