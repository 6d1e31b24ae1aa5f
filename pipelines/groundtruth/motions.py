"""What the people do. Motions of the train split and of the test split are different ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipelines.demo.motions import JOINTS, MOTIONS, Curve, Motion, Pose, finish
from pipelines.groundtruth.people import Split

Maker = Callable[[Curve], Motion]
_OPPOSITE = np.array([JOINTS.index(_swapped) for _swapped in (
    name.replace("left", "?").replace("right", "left").replace("?", "right") for name in JOINTS)])  # fmt: skip
_MIRROR = np.array([1, -1, -1], np.float32)
# Metres to each side of the middle beyond which nobody walks out of the picture.
ROOM_TO_WALK = 0.22


@dataclass(frozen=True)
class Style:
    """How a motion is done. tempo: 1 is as written. start: seconds into it. mirrored: left and right exchanged.

    yaw: radians, the person's turn to the camera on top of the motion's own.
    """

    tempo: float
    start: float
    mirrored: bool
    yaw: float


def _stand(pose: Pose, sway: Curve) -> None:
    for side, sign in (("left", 1), ("right", -1)):
        bent = 0.06 + 0.05 * sign * sway
        pose.leg(side, bent, 2 * bent, apart=0.1)


def cross(t: Curve) -> Motion:
    """The hands pass before the body, one over the other, and part again."""
    pose = Pose(t)
    closed = 0.5 - 0.5 * np.cos(2 * np.pi * 0.55 * t)
    pose.arm("left", 1.15, forward=0.35, bend=1.2 + 0.35 * closed, twist=0.6 - 1.5 * closed)
    pose.arm("right", 1.15, forward=0.5, bend=1.35 + 0.3 * closed, twist=0.6 - 1.6 * closed)
    _stand(pose, np.sin(1.2 * t))
    return finish(pose, yaw=0.2 * np.sin(0.8 * t), curl=(0.1, 0.2))


def clap(t: Curve) -> Motion:
    """Claps before the chest."""
    pose = Pose(t)
    apart = np.abs(np.sin(2 * np.pi * 0.8 * t))
    for side in ("left", "right"):
        pose.arm(side, 1.0, forward=0.7, bend=1.35, twist=-0.75 + 0.8 * apart)
    _stand(pose, np.sin(2.4 * t))
    return finish(pose, yaw=0.25 * np.sin(0.7 * t), curl=(0.0, 0.0))


def reach(t: Curve) -> Motion:
    """Reaches up and to the front with one arm after the other."""
    pose = Pose(t)
    left = np.sin(2 * np.pi * 0.4 * t)
    for side, up in (("left", left), ("right", -left)):
        rise = np.clip(up, 0, 1)
        pose.arm(side, 1.3 - 0.2 * rise, forward=0.1 + 2.2 * rise, bend=0.5 - 0.2 * rise)
    _stand(pose, left)
    pose.turn("spine2", "z", 0.12 * left)
    return finish(pose, yaw=0.2 * left, curl=(0.2, 0.2))


def sway(t: Curve) -> Motion:
    """Hands on the hips, turning at the waist."""
    pose = Pose(t)
    swing = np.sin(2 * np.pi * 0.5 * t)
    for side in ("left", "right"):
        pose.arm(side, 0.85, forward=-0.1, bend=1.5, twist=-0.9)
    _stand(pose, swing)
    pose.turn("spine1", "z", 0.15 * swing)
    pose.turn("spine3", "y", 0.3 * np.sin(2 * np.pi * 0.3 * t))
    return finish(pose, yaw=0.2 * swing, right=0.06 * swing, curl=(0.5, 0.5))


def conduct(t: Curve) -> Motion:
    """Beats time with both hands, elbows bent, before the chest."""
    pose = Pose(t)
    beat, bar = np.sin(2 * np.pi * 1.0 * t), np.sin(2 * np.pi * 0.25 * t)
    for side, phase in (("left", beat), ("right", -beat)):
        pose.arm(side, 0.9, forward=0.55 + 0.3 * bar, bend=1.25 + 0.45 * phase, twist=0.2 + 0.35 * phase)
    _stand(pose, bar)
    return finish(pose, yaw=0.35 * bar, curl=(0.4, 0.4))


def box(t: Curve) -> Motion:
    """Fists before the chin, one after the other to the front."""
    pose = Pose(t)
    punch = np.sin(2 * np.pi * 0.7 * t)
    for side, out in (("left", np.clip(punch, 0, 1)), ("right", np.clip(-punch, 0, 1))):
        pose.arm(side, 1.25, forward=0.45 + 0.85 * out, bend=2.1 - 1.8 * out, twist=-0.3 * (1 - out))
    for side, sign in (("left", 1), ("right", -1)):
        pose.leg(side, 0.18 + 0.1 * sign, 0.4, apart=0.14)
    pose.turn("spine3", "y", -0.35 * punch)
    return finish(pose, yaw=0.3 + 0.1 * punch, curl=(1.0, 1.0))


def salute(t: Curve) -> Motion:
    """Brings a hand to the brow, shades the eyes, looks from side to side."""
    pose = Pose(t)
    up = 0.5 - 0.5 * np.cos(2 * np.pi * 0.35 * t)
    pose.arm("right", 1.25 - 0.75 * up, forward=0.1 + 0.5 * up, bend=0.3 + 1.95 * up, twist=1.1 * up)
    pose.arm("left", 1.1, forward=0.1, bend=0.9, twist=-0.6)
    pose.turn("neck", "y", 0.5 * np.sin(2 * np.pi * 0.3 * t))
    _stand(pose, np.sin(t))
    return finish(pose, yaw=0.15 * np.sin(0.9 * t), curl=(0.3, 0.0))


def march(t: Curve) -> Motion:
    """Marches on the spot, knees high, turning a little."""
    pose = Pose(t)
    step = np.sin(2 * np.pi * 0.8 * t)
    for side, lifted, swing in (("left", np.clip(step, 0, 1), step), ("right", np.clip(-step, 0, 1), -step)):
        pose.leg(side, 1.1 * lifted, 1.3 * lifted)
        pose.arm(side, 1.2, forward=-0.6 * swing, bend=1.2)
    return finish(pose, yaw=0.5 * np.sin(2 * np.pi * 0.2 * t), curl=(0.7, 0.7))


def roll(t: Curve) -> Motion:
    """Rolls the forearms about each other before the body, stepping from side to side."""
    pose = Pose(t)
    wheel = 2 * np.pi * 0.75 * t
    for side, phase in (("left", wheel), ("right", wheel + np.pi)):
        pose.arm(side, 1.05 + 0.12 * np.sin(phase), forward=0.45 + 0.3 * np.cos(phase), bend=1.45,
                 twist=-0.55 + 0.35 * np.sin(phase))  # fmt: skip
    step = np.sin(2 * np.pi * 0.4 * t)
    _stand(pose, step)
    pose.turn("spine1", "z", 0.1 * step)
    return finish(pose, yaw=0.3 * step, right=0.12 * step, curl=(0.5, 0.5))


FAMILIES: dict[Split, dict[str, Maker]] = {
    "train": {**{name: MOTIONS[name] for name in ("walk", "turn", "dance", "wave")},
              **{motion.__name__: motion for motion in (cross, clap, reach, sway)}},
    "test": {motion.__name__: motion for motion in (conduct, box, salute, march, roll)},
}  # fmt: skip
"""By split; no motion is in both."""


def perform_motion(name: str, style: Style, seconds: NDArray[np.float64]) -> Motion:
    """The named motion of either split over the times `seconds` (T,). Raises KeyError for an unknown one."""
    made = next(family[name] for family in FAMILIES.values() if name in family)(style.start + style.tempo * seconds)
    if style.mirrored:
        made = _mirrored(made)
    place = made.place - made.place.mean(axis=0)
    place[:, 0] *= min(1.0, ROOM_TO_WALK / max(float(np.abs(place[:, 0]).max()), 1e-6))
    return replace(made, yaw=made.yaw + style.yaw, place=place)


def _mirrored(motion: Motion) -> Motion:
    return replace(
        motion,
        body_pose=motion.body_pose[:, _OPPOSITE] * _MIRROR,
        curl=motion.curl[:, ::-1],
        yaw=-motion.yaw,
        place=motion.place * (-1, 1),
    )
