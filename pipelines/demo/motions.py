"""Motions for the demo videos: smooth joint-angle curves for an SMPL-X body.

Angles are about the axes of the rest pose, in which the body stands in a T, looks along +z and has its left on +x.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Curve = NDArray[np.float64]

JOINTS = (
    "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle", "spine3",
    "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist",
)  # fmt: skip


@dataclass(frozen=True)
class Motion:
    """A motion over T frames. Angles in radians, lengths in metres.

    body_pose: float32 (T, 21, 3), axis-angle. curl: (T, 2), how far the fingers of the left and right hand are closed,
    0 (relaxed) to 1 (fist). yaw: (T,), 0 facing the camera, positive towards the person's left. place: (T, 2), where
    the person stands: right of the camera's middle, and beyond the usual distance. lift: (T,), off the ground.
    """

    body_pose: NDArray[np.float32]
    curl: Curve
    yaw: Curve
    place: NDArray[np.float64]
    lift: Curve


@dataclass
class Pose:
    """Rotations that are composed joint by joint before they become axis-angle."""

    t: Curve
    turns: dict[str, Rotation] = field(default_factory=dict)

    def turn(self, joint: str, axis: str, angle: Curve | float) -> None:
        """Turn a joint further, about a fixed axis of the rest pose."""
        turn = Rotation.from_euler(axis, np.broadcast_to(angle, self.t.shape)[:, None])
        self.turns[joint] = turn * self.turns[joint] if joint in self.turns else turn

    def arm(self, side: str, down: Curve | float, forward: Curve | float = 0.0, bend: Curve | float = 0.0,
            twist: Curve | float = 0.0) -> None:  # fmt: skip
        """down: from the T towards the body (1.3 hangs). forward: swing about the shoulder's line. bend: elbow.

        twist: about the arm's own length; with 1.57 a bent forearm points up from an arm held out.
        """
        sign = 1.0 if side == "left" else -1.0
        self.turn(f"{side}_shoulder", "x", -np.asarray(twist))
        self.turn(f"{side}_shoulder", "z", -sign * np.asarray(down))
        self.turn(f"{side}_shoulder", "x", -np.asarray(forward))
        self.turn(f"{side}_elbow", "y", -sign * np.asarray(bend))

    def leg(self, side: str, forward: Curve | float, knee: Curve | float, apart: Curve | float = 0.0) -> None:
        """forward: thigh. knee: bend. The foot stays level."""
        sign = 1.0 if side == "left" else -1.0
        self.turn(f"{side}_hip", "x", -np.asarray(forward))
        self.turn(f"{side}_hip", "z", sign * np.asarray(apart))
        self.turn(f"{side}_knee", "x", np.asarray(knee))
        self.turn(f"{side}_ankle", "x", np.asarray(forward) - np.asarray(knee))

    def axis_angle(self) -> NDArray[np.float32]:
        pose = np.zeros((len(self.t), len(JOINTS), 3), np.float32)
        for joint, turn in self.turns.items():
            pose[:, JOINTS.index(joint)] = turn.as_rotvec()
        return pose


def finish(
    pose: Pose,
    yaw: Curve | float = 0.0,
    right: Curve | float = 0.0,
    away: Curve | float = 0.0,
    lift: Curve | float = 0.0,
    curl: tuple[Curve | float, Curve | float] = (0.1, 0.1),
) -> Motion:
    """The motion of a pose, with what of it is not joints; see `Motion`. Numbers hold for all frames."""
    # Nobody stands quite still.
    t = pose.t
    pose.turn("spine2", "x", 0.02 * np.sin(1.9 * t))
    pose.turn("head", "y", 0.08 * np.sin(1.1 * t + 0.4))
    pose.turn("head", "x", 0.04 * np.sin(1.7 * t))

    def full(value: Curve | float) -> Curve:
        return np.broadcast_to(np.asarray(value, np.float64), t.shape)

    return Motion(
        pose.axis_angle(),
        np.stack([full(curl[0]), full(curl[1])], 1),
        full(yaw),
        np.stack([full(right), full(away)], 1),
        full(lift),
    )


def wave(t: Curve) -> Motion:
    """Waves with the right hand; t in seconds, as everywhere here."""
    pose = Pose(t)
    swing = np.sin(2 * np.pi * 1.1 * t)
    pose.arm("right", 0.15 + 0.05 * swing, twist=1.35, bend=1.45 + 0.45 * swing)
    pose.arm("left", 1.15, forward=0.1 + 0.05 * np.sin(2 * t), bend=0.3)
    pose.turn("spine3", "z", 0.04 * np.sin(1.3 * t))
    return finish(pose, yaw=0.15 * np.sin(0.9 * t), curl=(0.15, -0.15))


def squat(t: Curve) -> Motion:
    """Squats and rises, arms to the front."""
    pose = Pose(t)
    depth = 0.5 - 0.5 * np.cos(2 * np.pi * t / 2.2)
    for side in ("left", "right"):
        pose.leg(side, 1.35 * depth, 1.75 * depth, apart=0.12 + 0.25 * depth)
        pose.arm(side, 1.2, forward=0.15 + 1.15 * depth, bend=0.3 + 0.5 * depth)
    pose.turn("spine1", "x", 0.35 * depth)
    pose.turn("neck", "x", -0.2 * depth)
    return finish(pose, yaw=0.35, curl=(0.5, 0.5))


def turn(t: Curve) -> Motion:
    """Turns to one side and the other as in front of a mirror, hands on the move."""
    pose = Pose(t)
    pose.arm("left", 1.0 + 0.1 * np.sin(1.5 * t), bend=0.9 + 0.3 * np.sin(1.5 * t), forward=0.25)
    pose.arm("right", 1.0 - 0.1 * np.sin(1.5 * t), bend=0.9 - 0.3 * np.sin(1.5 * t), forward=0.25)
    pose.leg("left", 0.06, 0.12, apart=0.08)
    pose.leg("right", 0.06, 0.12, apart=0.08)
    return finish(pose, yaw=1.0 * np.sin(2 * np.pi * t / 4.2), curl=(0.3, 0.3))


def walk(t: Curve) -> Motion:
    """Walks through the picture from its left, half towards the camera."""
    pose = Pose(t)
    stride = np.sin(2 * np.pi * 0.95 * t)
    for side, phase in (("left", stride), ("right", -stride)):
        lifted = np.clip(np.cos(2 * np.pi * 0.95 * t) * (1 if side == "left" else -1), 0, None)
        pose.leg(side, 0.42 * phase + 0.25 * lifted, 0.15 + 0.85 * lifted)
        pose.arm(side, 1.2, forward=-0.45 * phase + 0.05, bend=0.35 - 0.2 * phase)
    pose.turn("spine2", "y", 0.12 * stride)
    progress = t - t.mean()
    return finish(pose, yaw=0.75, right=0.42 * progress, away=-0.32 * progress, curl=(0.3, 0.3))


def dance(t: Curve) -> Motion:
    """Steps from side to side, arms alternating up and down."""
    pose = Pose(t)
    beat = np.sin(2 * np.pi * 0.9 * t)
    half = np.sin(2 * np.pi * 0.45 * t)
    pose.arm("left", 0.35 - 0.75 * half, twist=1.2, bend=1.1 + 0.5 * beat)
    pose.arm("right", 0.35 + 0.75 * half, twist=1.2, bend=1.1 - 0.5 * beat)
    for side, sign in (("left", 1), ("right", -1)):
        bent = 0.22 + 0.18 * sign * half
        pose.leg(side, bent, 2 * bent, apart=0.14)
    pose.turn("spine1", "z", 0.14 * half)
    pose.turn("spine3", "z", -0.1 * half)
    pose.turn("neck", "z", 0.1 * beat)
    return finish(pose, yaw=0.35 * half, right=0.16 * half, curl=(0.25 + 0.25 * beat, 0.25 - 0.25 * beat))


MOTIONS: dict[str, Callable[[Curve], Motion]] = {motion.__name__: motion for motion in (wave, squat, turn, walk, dance)}
