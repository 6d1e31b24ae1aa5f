"""A person who dances with known parameters, and what a perfect estimator would see of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from pipelines.body.kinematics import WHOLEBODY
from pipelines.body.model import Body
from pipelines.body.priors import NATURAL_POSE
from pipelines.clip import BodySequence, Camera, Floats, Keypoints

SIZE = (512, 768)
CAMERA = Camera(1.2 * 768, (256.0, 384.0), SIZE)

# For each of BlazePose's 33 landmarks the point of the body (smplx's order) that it names.
_HEAD = (55, 57, 57, 57, 56, 56, 56, 59, 58, 113, 107)
_ARMS = (16, 17, 18, 19, 20, 21, 31, 46, 25, 40, 38, 53)
_LEGS = (1, 2, 4, 5, 7, 8, 62, 65, 60, 63)
_BLAZEPOSE = np.array([*_HEAD, *_ARMS, *_LEGS])


def dance(body: Body, frames: int, betas: Floats, depth: float = 4.0, camera: Camera = CAMERA) -> BodySequence:
    """Arms, legs, trunk, head, fingers and jaw move; the person turns, walks and hops.

    The ground is 1.15 m below the camera. 48 frames are one period.
    """
    time = np.arange(frames) * 2 * np.pi / 48

    def wave(size: float, phase: float = 0.0) -> NDArray:
        return size * np.sin(time + phase)

    pose = np.tile(NATURAL_POSE.astype(np.float64), (frames, 1, 1))
    pose[:, 16, 1], pose[:, 16, 2] = -0.4 + wave(0.4, 1), -0.3 + wave(0.8)
    pose[:, 17, 1], pose[:, 17, 2] = 0.4 + wave(0.4, 2), 0.3 + wave(0.8, 0.7)
    pose[:, 18, 1], pose[:, 19, 1] = -0.9 + wave(0.7, 0.5), 0.9 + wave(0.7, 1.5)
    pose[:, 1, 0], pose[:, 2, 0] = -0.3 + wave(0.3), -0.2 + wave(0.3, 3)
    pose[:, 4, 0], pose[:, 5, 0] = 0.5 + wave(0.4, 0.3), 0.5 + wave(0.4, 3)
    pose[:, [3, 6, 9], 1] = wave(0.1, 1)[:, None]
    pose[:, [12, 15], 1] = wave(0.25)[:, None]
    pose[:, [20, 21], 2] = wave(0.3)[:, None]
    pose[:, 25:] = body.hand_means.reshape(30, 3) * (1.3 + wave(0.8)[:, None, None])
    pose[:, 22, 0] = 0.1 + wave(0.1)
    turn = np.stack([0 * time, wave(0.6, 0.2), 0 * time], -1)
    pose[:, 0] = (Rotation.from_rotvec([np.pi, 0, 0]) * Rotation.from_rotvec(turn)).as_rotvec()
    angles: Floats = pose.astype(np.float32)
    transl = np.stack([wave(0.3), np.zeros(frames), depth + wave(0.3, 1.6)], -1)
    dancing = BodySequence(
        betas=np.asarray(betas, np.float32),
        expression=np.zeros((frames, 10), np.float32),
        global_orient=angles[:, 0],
        body_pose=angles[:, 1:22],
        left_hand_pose=angles[:, 25:40],
        right_hand_pose=angles[:, 40:],
        jaw_pose=angles[:, 22],
        transl=transl.astype(np.float32),
        camera=camera,
        flat_hand_mean=True,
        body_hash=body.hash,
        valid=np.ones(frames, bool),
    )
    lowest = body.joints(dancing)[:, 60:66, 1].max(1)
    dancing.transl[:, 1] = 1.15 - hop(frames) - lowest
    return dancing


def hop(frames: int) -> NDArray:
    """(T,) metres between the dancer's lowest foot and the ground."""
    return 0.25 * np.clip(np.sin(np.arange(frames) * 2 * np.pi / 16) - 0.6, 0, None)


def observed(body: Body, sequence: BodySequence, noise: float = 0.0, world: bool = True, seed: int = 0) -> Keypoints:
    """All 133 points with `noise` pixels of Gaussian error, and exact world landmarks (origin between the hips)."""
    rng = np.random.default_rng(seed)
    points = body.joints(sequence)
    pixels = sequence.camera.project(points[:, WHOLEBODY])
    boxes = np.concatenate([pixels.min(1), pixels.max(1)], 1).astype(np.float32)
    pixels = (pixels + noise * rng.normal(size=pixels.shape)).astype(np.float32)
    landmarks = points[:, _BLAZEPOSE] - points[:, [1, 2]].mean(1, keepdims=True)
    scores = np.ones(pixels.shape[:2], np.float32)
    return Keypoints(pixels, scores, boxes, "synthetic", landmarks.astype(np.float32) if world else None)
