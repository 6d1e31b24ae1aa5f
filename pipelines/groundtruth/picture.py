"""From a body and a clip to pictures, and to what each of their pixels shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.body import raster_kernels as kernels
from pipelines.body.model import Body
from pipelines.body.parts import PART_NAMES
from pipelines.body.raster import Mesh, Rasteriser
from pipelines.clip import BodySequence, Frames
from pipelines.demo.film import CHUNK, WHITE
from pipelines.demo.looks import albedo, is_hair, padding
from pipelines.demo.rooms import paint_room
from pipelines.groundtruth.clips import Clip, look_of, stage_of
from pipelines.groundtruth.faces import paint_identity, seen_from
from pipelines.groundtruth.people import Person


class Region(IntEnum):
    """What a pixel of `truth/regions` shows. TORSO_EDGE lies within size/64 pixels of both trunk and background."""

    BACKGROUND = 0
    BODY = 1
    FACE = 2
    HANDS = 3
    TORSO_EDGE = 4


def _table(*endings: str) -> NDArray[np.bool_]:
    return np.array([name.split()[-1] in endings for name in PART_NAMES])


_HEAD = _table("head", "jaw", "eye")
_HANDS = _table("hand", "thumb", "fingers")
_TRUNK = _table("hips", "abdomen", "chest", "shoulder")
# The face begins this far before the ears, in the rest pose, metres.
_FACE_FRONT = 0.05
# The least side that people are drawn at; smaller pictures are averaged from it.
_DRAWN_SIDE = 256


@dataclass(frozen=True)
class Filmed:
    """picture: RGB uint8 (H, W, 3). regions: uint8 (H, W), see `Region`. silhouette: bool (H, W), the person."""

    picture: Frames
    regions: NDArray[np.uint8]
    silhouette: NDArray[np.bool_]


def samples_per_pixel(size: int) -> int:
    """Samples along a pixel's side: 4 at 64, 2 up to 256, 1 beyond."""
    return 1 if size > _DRAWN_SIDE else max(2, -(-_DRAWN_SIDE // size))


def film(body: Body, person: Person, clip: Clip, sequence: BodySequence) -> Iterator[Filmed]:
    """The person in the clip's clothes, room and light, moving as `sequence` does, frame by frame.

    Equal arguments give equal pictures. The sequence's camera must be that of `stage_of`, square.
    """
    size = sequence.camera.size[0]
    fine = samples_per_pixel(size)
    camera = sequence.camera.scaled((fine * size, fine * size))
    stage = stage_of(body, person, clip, size)
    look = look_of(person.features, clip.clothes)
    place = body.arrays["v_template"]
    thickness = padding(place, body.vertex_parts, look)[:, None]
    face = seen_from(paint_identity(body, look, person.features), camera.focal / stage.distance)
    tint = np.array(clip.light_tint, np.float32)
    room = paint_room(clip.room, camera, stage.height, clip.room_seed)
    backdrop = np.minimum(room * tint, 255).astype(np.uint8)
    faces = np.ascontiguousarray(body.faces, np.int32)
    rasteriser, normals = Rasteriser(clip.lighting), np.empty_like(place)
    for start in range(0, len(sequence), CHUNK):
        for vertices in body.vertices(sequence, slice(start, start + CHUNK)):
            kernels.vertex_normals(vertices, faces, normals)
            vertices += thickness * normals
            maps = rasteriser.draw(Mesh(vertices, faces, body.face_parts, (WHITE,) * 3, place), camera)
            assert maps.attributes is not None
            seen = maps.mask
            colour = albedo(maps.attributes[seen], maps.labels[seen], look, face)
            picture = backdrop.copy()
            light = maps.shaded[seen, :1].astype(np.float32) / WHITE
            picture[seen] = np.minimum(colour * light * tint, 255).astype(np.uint8)
            # What a lens does: no edge is sharper than a pixel.
            picture = cv2.GaussianBlur(picture, (3, 3), 0.6)
            if fine > 1:
                picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
            # A pixel is what its middle shows.
            rows = slice(fine // 2, None, fine)
            labels, at = maps.labels[rows, rows], maps.attributes[rows, rows]
            yield Filmed(np.asarray(picture, np.uint8), regions_of(labels, at, look.long_hair), labels > 0)


def regions_of(labels: NDArray[np.uint8], place: NDArray[np.float32], long_hair: bool) -> NDArray[np.uint8]:
    """uint8 (H, W), see `Region`, from part labels (H, W) and places on the body in the rest pose (H, W, 3)."""
    regions = np.where(labels > 0, np.uint8(Region.BODY), np.uint8(Region.BACKGROUND))
    reach = max(1, round(min(labels.shape) / 64))
    around = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    near_trunk = cv2.dilate(_TRUNK[labels].astype(np.uint8), around) > 0
    near_background = cv2.dilate((labels == 0).astype(np.uint8), around) > 0
    regions[near_trunk & near_background] = Region.TORSO_EDGE
    head = _HEAD[labels] & (place[..., 2] > _FACE_FRONT)
    head[head] = is_hair(place[head], long_hair) < 0.5
    regions[head] = Region.FACE
    regions[_HANDS[labels]] = Region.HANDS
    return regions


def at_size(sequence: BodySequence, size: int) -> BodySequence:
    """The sequence in its camera for a picture of another side."""
    return replace(sequence, camera=sequence.camera.scaled((size, size)))
