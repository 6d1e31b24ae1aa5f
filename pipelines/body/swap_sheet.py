"""A picture of a shape swap to look at before a long run: the reference, the driver, both maps before and after."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.body.model import Body
from pipelines.body.raster import Mesh, Rasteriser
from pipelines.body.skeleton import draw_skeleton
from pipelines.body.swap import swapped_keypoints
from pipelines.clip import BodySequence, Frames, Keypoints

Picture = NDArray[np.uint8]


def preview_sheet(
    body: Body,
    picture: Picture,
    reference: BodySequence,
    frames: Frames,
    driving: BodySequence,
    keypoints: Keypoints,
    swapped: BodySequence,
    columns: int = 6,
    height: int = 240,
) -> Picture:
    """uint8 (5 * height, W, 3) RGB. First column: the reference picture and its body map; then moments of the driver.

    Rows: pictures, the driver's body map, the swapped body map, the driver's skeleton map, the swapped one.
    picture: (H, W, 3) RGB of `reference`'s first frame. frames: (T, h, w, 3) RGB of `driving` and `keypoints`.
    Raises ValueError where the lengths differ.
    """
    if not len(frames) == len(driving) == len(keypoints) == len(swapped):
        lengths = (len(frames), len(driving), len(keypoints), len(swapped))
        raise ValueError(f"frames, driving, keypoints and swapped must be equally long, got {lengths}")
    after = swapped_keypoints(body, swapped, keypoints)
    rasteriser = Rasteriser()

    def body_map(sequence: BodySequence, at: int) -> Picture:
        mesh = Mesh(body.vertices(sequence, slice(at, at + 1))[0], body.faces.astype(np.int32))
        return rasteriser.draw(mesh, sequence.camera).shaded.copy()

    def skeleton_map(points: Keypoints, sequence: BodySequence, at: int) -> Picture:
        return draw_skeleton(points.points[at], points.scores[at], sequence.camera.size)

    first = [picture, body_map(reference, 0)]
    moments = []
    for at in np.linspace(0, len(frames) - 1, min(columns, len(frames))).astype(int):
        maps = [body_map(driving, at), body_map(swapped, at)]
        skeletons = [skeleton_map(keypoints, driving, at), skeleton_map(after, swapped, at)]
        moments.append([frames[at], *maps, *skeletons])
    return np.concatenate([_column(column, height, 5) for column in [first, *moments]], axis=1)


def _column(pictures: list[Picture], height: int, rows: int) -> Picture:
    """Pictures of any size under one another, each `height` high, centred, black around."""
    scaled: list[Picture] = []
    for picture in pictures:
        width = max(1, round(picture.shape[1] * height / picture.shape[0]))
        scaled.append(np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8))
    width = max(picture.shape[1] for picture in scaled)
    column = np.zeros((rows * height, width, 3), np.uint8)
    for row, picture in enumerate(scaled):
        left = (width - picture.shape[1]) // 2
        column[row * height : (row + 1) * height, left : left + picture.shape[1]] = picture
    return column
