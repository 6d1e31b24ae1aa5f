"""From the cameras that estimators speak of to one pinhole camera per clip.

Estimators look at crops, each with its own virtual camera. A clip has a single camera, with its principal point in the
middle of the picture, so what they say is re-expressed, frame by frame:

* the root joint (the pelvis) keeps its pixel and the body its size on the screen: depth grows with the focal length;
* the body is turned with the line of sight, so that it is seen from the same side although the camera now looks at it
  under another angle.

What cannot be kept is the strength of perspective: the ratio of the size of what is near to what is far changes with
depth. A point `d` metres before the pelvis at depth `z` was magnified by `z / (z - d)`; for a person 0.3 m deep brought
from 20 m to 4 m that moves an outstretched hand by about 6 % of its offset from the pelvis.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from pipelines.clip import BodySequence, Camera, Floats

FOCAL_SCALE = 1.2
"""Focal length over the longer side of a picture whose camera is unknown: 45 degrees of view, a phone held upright."""

SMPLERX_FOCAL = 5000.0
SMPLERX_CROP = (192, 256)


@dataclass(frozen=True)
class Placed:
    """Where one camera sees a body. transl: float32 (T, 3), metres; global_orient: float32 (T, 3), axis-angle."""

    camera: Camera
    transl: Floats
    global_orient: Floats


def assumed_camera(size: tuple[int, int], focal: float | None = None) -> Camera:
    """A camera that looks through the middle of a picture of `size` (width, height). focal: pixels, or assumed."""
    return Camera(float(focal or FOCAL_SCALE * max(size)), (size[0] / 2, size[1] / 2), (int(size[0]), int(size[1])))


def from_smplerx(
    cam_trans: ArrayLike,
    boxes: ArrayLike,
    global_orient: ArrayLike,
    pelvis: ArrayLike,
    size: tuple[int, int],
    focal: float | None = None,
) -> Placed:
    """SMPLer-X's crop camera as a camera of the whole clip.

    cam_trans: (T, 3), metres, the network's translation. boxes: (T, 4), the *expanded* boxes x, y, width, height in
    pixels. global_orient: (T, 3), axis-angle. pelvis: (3,), the root joint at rest, about which smplx turns a body.
    size: (width, height) of the frames.

    The crop's camera has focal (5000 / 192 * w, 5000 / 256 * h) and principal point (x + w / 2, y + h / 2). Source:
    SMPLer-X main/inference.py. Raises ValueError where a box is not 3:4 within 2 % (it is then not the expanded one).
    """
    box = _rows(boxes, 4, "boxes")
    focals = np.stack([SMPLERX_FOCAL / SMPLERX_CROP[0] * box[:, 2], SMPLERX_FOCAL / SMPLERX_CROP[1] * box[:, 3]], 1)
    if np.any(np.abs(focals[:, 0] / focals[:, 1] - 1) > 0.02):
        frame = int(np.argmax(np.abs(focals[:, 0] / focals[:, 1] - 1)))
        raise ValueError(f"boxes must be the expanded 3:4 boxes that were cropped; frame {frame} has {box[frame]}")
    principal = box[:, :2] + box[:, 2:] / 2
    return _placed(cam_trans, global_orient, pelvis, focals, principal, assumed_camera(size, focal))


def from_weak_perspective(
    weak: ArrayLike, boxes: ArrayLike, pelvis: ArrayLike, size: tuple[int, int], focal: float | None = None
) -> tuple[Camera, Floats]:
    """Weak perspective (scale, tx, ty) in a square crop, as HMR and its kin give it, as a camera and transl (T, 3).

    weak: (T, 3); a point X of the body is seen at `centre + side / 2 * scale * (X + t)`. boxes: (T, 3), centre x,
    centre y and side of the crop, pixels. pelvis: (3,); what lies in the pelvis's plane keeps its pixel exactly.
    """
    values, box = _rows(weak, 3, "weak"), _rows(boxes, 3, "boxes")
    camera = assumed_camera(size, focal)
    pixels_per_metre = values[:, 0] * box[:, 2] / 2
    if np.any(pixels_per_metre <= 0):
        raise ValueError(f"scale and side must be positive, frame {int(np.argmax(pixels_per_metre <= 0))} has not")
    shift = values[:, 1:] + (box[:, :2] - camera.principal) / pixels_per_metre[:, None]
    depth = camera.focal / pixels_per_metre - np.asarray(pelvis, np.float64)[2]
    return camera, np.concatenate([shift, depth[:, None]], 1).astype(np.float32)


def refocused(sequence: BodySequence, pelvis: ArrayLike, focal: float) -> BodySequence:
    """The sequence for a camera of another focal length (pixels): same size on the screen, seen from the same side."""
    camera = replace(sequence.camera, focal=float(focal))
    count = len(sequence)
    placed = _placed(
        sequence.transl,
        sequence.global_orient,
        pelvis,
        np.full((count, 2), sequence.camera.focal),
        np.tile(np.asarray(sequence.camera.principal, np.float64), (count, 1)),
        camera,
    )
    return replace(sequence, camera=camera, transl=placed.transl, global_orient=placed.global_orient)


def _placed(
    transl: ArrayLike,
    global_orient: ArrayLike,
    pelvis: ArrayLike,
    focals: NDArray[np.float64],
    principals: NDArray[np.float64],
    camera: Camera,
) -> Placed:
    moved, turned = _rows(transl, 3, "transl"), _rows(global_orient, 3, "global_orient")
    root = np.asarray(pelvis, np.float64)
    if not len(moved) == len(turned) == len(focals):
        raise ValueError(f"as many translations, orientations and boxes expected, got {len(moved)}, {len(turned)}, "
                         f"{len(focals)}")  # fmt: skip
    old = moved + root
    if np.any(old[:, 2] <= 0):
        raise ValueError(f"the body of frame {int(np.argmax(old[:, 2] <= 0))} is behind the camera")
    pixel = focals * old[:, :2] / old[:, 2:] + principals
    depth = old[:, 2] * camera.focal / np.sqrt(focals[:, 0] * focals[:, 1])
    new = np.concatenate([(pixel - camera.principal) * depth[:, None] / camera.focal, depth[:, None]], 1)
    orient = _between(old, new) * Rotation.from_rotvec(turned)
    return Placed(camera, (new - root).astype(np.float32), orient.as_rotvec().astype(np.float32))


def _between(start: NDArray[np.float64], end: NDArray[np.float64]) -> Rotation:
    """The shortest rotations that take directions (T, 3) to others less than a half turn away."""
    start = start / np.linalg.norm(start, axis=1, keepdims=True)
    end = end / np.linalg.norm(end, axis=1, keepdims=True)
    axis = np.cross(start, end)
    scalar = 1 + (start * end).sum(axis=1, keepdims=True)
    return Rotation.from_quat(np.concatenate([axis, scalar], 1))


def _rows(values: ArrayLike, columns: int, name: str) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    if array.ndim != 2 or array.shape[1] != columns:
        raise ValueError(f"{name} must be (T, {columns}), got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: frame {int(np.argmin(np.isfinite(array).all(axis=1)))} is not finite")
    return array
