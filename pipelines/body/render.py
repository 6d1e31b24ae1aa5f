"""Rendering maps of a body over a clip: shaded pictures and part labels, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipelines.body.model import Body
from pipelines.body.raster import FIGURE, Lighting, Maps, Mesh, Rasteriser
from pipelines.clip import BodySequence, Camera, Frames

VERSION = "1"
"""Changes when the same sequence gives other maps."""

# Bodies are posed so many frames at a time: the memory needed does not grow with the clip.
CHUNK = 32


def map_camera(camera: Camera, size: tuple[int, int] | None) -> Camera:
    """The clip's camera for maps of `size` (width, height). Raises ValueError where the aspect is another one."""
    if size is None or tuple(size) == camera.size:
        return camera
    width, height = size
    if width < 1 or height < 1 or abs(camera.size[1] * width / camera.size[0] - height) > 1:
        raise ValueError(f"maps of {width}x{height} do not show a picture of {camera.size[0]}x{camera.size[1]}")
    return camera.scaled((width, height))


def render_sequence(
    body: Body,
    sequence: BodySequence,
    size: tuple[int, int] | None = None,
    *,
    samples: int = 1,
    lighting: Lighting = FIGURE,
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Yields shaded RGB uint8 (H, W, 3) and part labels uint8 (H, W) for every frame, both black where nobody is.

    Labels are indices of `parts.PART_NAMES`. size: (width, height), the clip's own by default. samples: see
    `Rasteriser`. Frames that are not `valid` are black. Raises ValueError for a sequence of another body file and for
    parameters that are not finite.
    """
    camera = map_camera(sequence.camera, size)
    faces = np.ascontiguousarray(body.faces, dtype=np.int32)
    rasteriser = Rasteriser(lighting, samples=samples)
    width, height = camera.size
    previous: Maps | None = None
    for start in range(0, len(sequence), CHUNK):
        chunk = slice(start, min(start + CHUNK, len(sequence)))
        valid = sequence.valid[chunk]
        # Frames without a body may hold anything; they are neither posed nor drawn.
        vertices = body.vertices(sequence, chunk) if valid.any() else None
        for offset, is_valid in enumerate(valid):
            if vertices is None or not is_valid:
                yield np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.uint8)
                continue
            try:
                if previous is not None:
                    # What is handed out belongs to the caller; the rest is written anew.
                    fresh = np.empty((height, width, 3), np.uint8), np.empty((height, width), np.uint8)
                    previous = replace(previous, shaded=fresh[0], labels=fresh[1])
                maps = previous = rasteriser.draw(Mesh(vertices[offset], faces, body.face_parts), camera, out=previous)
            except ValueError as error:
                raise ValueError(f"frame {start + offset}: {error}") from error
            yield maps.shaded, maps.labels


def overlay(frame: Frames, shaded: Frames, labels: NDArray[np.uint8], alpha: float = 0.6) -> Frames:
    """The shaded body laid over the frame, for people to look at. All (H, W[, 3]) uint8; alpha: 0 hides the body."""
    if frame.shape != shaded.shape or frame.shape[:2] != labels.shape:
        raise ValueError(f"frame {frame.shape}, shaded {shaded.shape} and labels {labels.shape} must be of one size")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be from 0 to 1, got {alpha}")
    weight = np.where(labels[..., None] > 0, np.float32(alpha), np.float32(0))
    return np.rint(frame + weight * (shaded.astype(np.float32) - frame)).astype(np.uint8)
