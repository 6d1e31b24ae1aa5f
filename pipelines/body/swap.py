"""Shape swapping: the driver's motion in the reference's body, seen by the reference's camera.

VividPose section 3.3: at inference, shape and expression come from the reference image, pose from the driving video.
The paper does not say which translation and camera are used. Here the body stands where the reference stands, in the
reference's camera, and moves as the driver moves, scaled by the ratio of their sizes: a taller body makes longer
steps. Copying the reference's translation into every frame (Champ) would lose the motion; copying the driver's would
lose the framing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.body.kinematics import WHOLEBODY
from pipelines.body.model import Body
from pipelines.clip import BODY, BodySequence, Camera, Floats, Keypoints

Anchor = Literal["auto", "feet", "pelvis", "neck"]
_PELVIS, _NECK = 0, 12
_FEET = np.array([60, 61, 62, 63, 64, 65])  # toes and heels in smplx's order
_CHUNK = 1200  # frames posed at a time, so that memory does not grow with the video
_NEAR = 0.1  # metres; what is nearer to the camera is not in the picture


@dataclass(frozen=True)
class SwapConfig:
    """expression: whose face; the paper takes the reference's. The jaw is pose and stays the driver's.

    anchor: what stays where the reference has it. `feet`: the ground under the feet, so that bodies with other legs
    neither float nor sink. `pelvis`: for half bodies, whose feet are a guess. `neck`: the head stays in the picture
    however the reference leans, and the rest of the body gives way. `auto`: feet where the reference's picture shows
    them, else pelvis, which unlike the neck is in its place whether the reference leans, raises its arms or turns.
    """

    expression: Literal["reference", "driving"] = "reference"
    anchor: Anchor = "auto"


def swap(
    reference: BodySequence, driving: BodySequence, body: Body, config: SwapConfig | None = None
) -> BodySequence:
    """The driver's motion in the reference's shape and picture.

    reference: one frame or more; the first valid one gives place, framing and expression. driving: T frames.
    Returns T frames with the reference's camera. Raises ValueError where the two belong to different body files or
    where no frame of one of them is valid.
    """
    config = config or SwapConfig()
    if reference.body_hash != driving.body_hash:
        raise ValueError(
            f"the reference's shape belongs to body file {reference.body_hash[:12]}, the driver's to "
            f"{driving.body_hash[:12]}; fit both with the same file"
        )
    at, first = _first_valid(reference, "reference"), _first_valid(driving, "driving")
    expression = driving.expression
    if config.expression == "reference":
        expression = np.repeat(reference.expression[at : at + 1], len(driving), 0)
    nowhere = np.zeros_like(driving.transl)
    still = replace(driving, betas=reference.betas, expression=expression, camera=reference.camera, transl=nowhere)

    there = body.joints(reference, slice(at, at + 1))
    anchor = config.anchor
    if anchor == "auto":
        anchor = "feet" if _inside(there[0, _FEET], reference.camera).all() else "pelvis"
    root = _NECK if anchor == "neck" else _PELVIS
    (swapped, lowest), (driver, driver_lowest) = (
        _root_and_ground(body, sequence, root) for sequence in (still, driving)
    )
    ratio = size_ratio(body, reference.betas, driving.betas, anchor)
    place = there[0, root] + ratio * (driver - driver[first]) - swapped
    if anchor == "feet":
        # Sideways and in depth the pelvis leads; up and down the lowest foot does: it is as far from the ground as the
        # driver's, and stays on it while the driver stands.
        ground, driver_ground = there[0, _FEET, 1].max(), np.median(driver_lowest[driving.valid])
        place[:, 1] = ground + ratio * (driver_lowest - driver_ground) - lowest
    return replace(still, transl=place.astype(np.float32))


def _root_and_ground(body: Body, sequence: BodySequence, root: int) -> tuple[Floats, Floats]:
    """(T, 3), where a joint is, and (T,), y of the lowest point of the feet."""
    at, lowest = np.empty((len(sequence), 3), np.float32), np.empty(len(sequence), np.float32)
    for start in range(0, len(sequence), _CHUNK):
        rows = slice(start, start + _CHUNK)
        joints = body.joints(sequence, rows)
        at[rows], lowest[rows] = joints[:, root], joints[:, _FEET, 1].max(1)
    return at, lowest


def size_ratio(body: Body, reference: Floats, driving: Floats, anchor: Anchor = "feet") -> float:
    """How much longer the reference's legs are than the driver's (for the neck as anchor: pelvis to head).

    reference, driving: betas (10,).
    """
    bones = ((0, 3), (3, 6), (6, 9), (9, 12), (12, 15)) if anchor == "neck" else ((1, 4), (4, 7), (2, 5), (5, 8))
    lengths = []
    for betas in (reference, driving):
        rest = body.rest_joints(betas)
        lengths.append(sum(float(np.linalg.norm(rest[b] - rest[a])) for a, b in bones))
    return lengths[0] / lengths[1]


def swapped_keypoints(body: Body, sequence: BodySequence, driving: Keypoints) -> Keypoints:
    """Key points of a swapped sequence, so that its skeleton map agrees with its body map.

    The 133 points are the swapped body's, projected by its camera; the scores are the driver's, and 0 for points
    outside the picture, which no estimator would see.
    Raises ValueError where the lengths differ.
    """
    if len(sequence) != len(driving):
        raise ValueError(f"the swapped sequence has {len(sequence)} frames, the driver's key points {len(driving)}")
    wholebody = body.joints(sequence)[:, WHOLEBODY]
    inside = _inside(wholebody, sequence.camera)
    scores = np.where(inside, driving.scores, 0).astype(np.float32)
    wholebody[..., 2] = np.maximum(wholebody[..., 2], _NEAR)
    points = sequence.camera.project(wholebody).astype(np.float32)
    counted = np.where(inside[..., None], points, np.nan)
    counted[~inside[:, BODY].any(1)] = np.nan
    boxes = np.full((len(points), 4), np.nan, np.float32)
    rows = inside[:, BODY].any(1)
    boxes[rows] = np.concatenate([np.nanmin(counted[rows], 1), np.nanmax(counted[rows], 1)], 1)
    return Keypoints(points, scores, boxes, f"{driving.estimator}, swapped")


def _inside(xyz: Floats, camera: Camera) -> NDArray[np.bool_]:
    """Which points (..., 3) lie before the camera and inside its picture."""
    before = xyz[..., 2] > _NEAR
    pixels = camera.project(np.where(before[..., None], xyz, 1.0).astype(np.float32))
    return np.asarray(before & (pixels >= 0).all(-1) & (pixels <= np.asarray(camera.size)).all(-1))


def _first_valid(sequence: BodySequence, name: str) -> int:
    valid = np.flatnonzero(sequence.valid)
    if not len(valid):
        raise ValueError(f"the {name} sequence of {len(sequence)} frames has no valid frame")
    return int(valid[0])

