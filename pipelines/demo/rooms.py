"""Backgrounds for the demo videos: a wall, a floor in perspective, and something on the wall. All from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.clip import Camera

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Room:
    """wall, floor, accent: RGB. boards: width of the floor's boards in metres. things: what hangs on the wall."""

    wall: Colour
    floor: Colour
    accent: Colour
    boards: float = 0.25
    things: str = "window"
    wall_distance: float = 4.6


def smooth_noise(shape: tuple[int, int], cells: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Values from -1 to 1 (H, W) that change over about 1 / cells of the longer side."""
    step = max(shape) / cells
    grid = rng.uniform(-1, 1, (int(shape[0] / step) + 2, int(shape[1] / step) + 2)).astype(np.float32)
    return np.asarray(cv2.resize(grid, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), np.float32)


def paint_room(room: Room, camera: Camera, floor_height: float, seed: int) -> NDArray[np.float32]:
    """The empty room, float32 (H, W, 3), RGB 0 to 255. floor_height: metres below the camera, which looks level."""
    rng = np.random.default_rng(seed)
    width, height = camera.size
    v, u = np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij")
    picture = np.empty((height, width, 3), np.float32)
    picture[:] = room.wall
    # The wall is lighter where the window's light falls.
    light = 1.0 - 0.22 * np.hypot((u / width - 0.35), 0.8 * (v / height - 0.25))
    picture *= light[..., None].astype(np.float32)
    _hang(picture, room, rng)
    below = v - camera.principal[1] > camera.focal * floor_height / room.wall_distance
    depth = camera.focal * floor_height / np.maximum(v - camera.principal[1], 1)
    across = (u - camera.principal[0]) * depth / camera.focal
    board = np.floor(across / room.boards)
    tone = 0.93 + 0.07 * np.sin(12.9898 * board) + 0.03 * np.sin(40 * depth + 7 * board)
    gap = np.abs(across / room.boards - np.round(across / room.boards)) < 0.02
    tone = np.where(gap, 0.75 * tone, tone) * np.clip(1.12 - 0.06 * depth, 0.6, 1.1)
    floor = np.array(room.floor, np.float32) * tone[..., None]
    picture = np.where(below[..., None], floor, picture)
    skirting = ~below & (v - camera.principal[1] > camera.focal * (floor_height - 0.08) / room.wall_distance)
    picture[skirting] = np.array(room.wall, np.float32) * 0.75 + 50
    stains, grain = smooth_noise((height, width), 12, rng), smooth_noise((height, width), 90, rng)
    picture *= (1 + 0.03 * stains + 0.02 * grain)[..., None]
    return np.clip(cv2.GaussianBlur(picture, (0, 0), 1.2), 0, 255).astype(np.float32)


def _hang(picture: NDArray[np.float32], room: Room, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    if room.things == "window":
        left, top = int(0.05 * width), int(0.06 * height)
        right, bottom = left + int(0.24 * min(width, 1.2 * height)), top + int(0.34 * height)
        cv2.rectangle(picture, (left - 8, top - 8), (right + 8, bottom + 8), (235, 232, 225), -1)
        sky = np.linspace(0, 1, bottom - top, dtype=np.float32)[:, None, None]
        picture[top:bottom, left:right] = np.array((150, 190, 235)) * (1 - sky) + np.array((230, 235, 240)) * sky
        cv2.line(picture, ((left + right) // 2, top), ((left + right) // 2, bottom), (235, 232, 225), 8)
    elif room.things == "pictures":
        for x in (0.06, 0.72):
            left, top = int(x * width), int(0.1 * height)
            size = int(0.2 * width)
            cv2.rectangle(picture, (left - 6, top - 6), (left + size + 6, top + size + 6), (40, 34, 30), -1)
            blobs = smooth_noise((size, size), 4, rng)[..., None]
            picture[top : top + size, left : left + size] = np.array(room.accent) * (0.7 + 0.3 * blobs) + 30
    elif room.things == "bricks":
        rows = max(8, height // 26)
        step = height / rows
        for row in range(rows):
            y = int(row * step)
            cv2.line(picture, (0, y), (width, y), room.accent, 2)
            for x in np.arange((row % 2) * step, width, 2 * step):
                cv2.line(picture, (int(x), y), (int(x), int(y + step)), room.accent, 2)
    elif room.things == "stripes":
        for x in range(0, width, max(20, width // 14)):
            cv2.rectangle(picture, (x, 0), (x + max(6, width // 40), height), room.accent, -1)
