"""How clips begin: with the face turned away, covered by a hand or far off, so that a first frame says little of it.

A benchmark whose reference picture always shows the face plainly would have nothing for an identity vector to add.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipelines.demo.motions import JOINTS, Motion, Pose

SHARES: Mapping[str, float] = {"plain": 0.3, "turned": 0.3, "covered": 0.2, "far": 0.2}
LASTS = 0.4
"""Share of a clip that its opening takes."""
TURN, FARTHER = 1.75, 0.9
_ARM = ("shoulder", "elbow")


def opening_frames(frames: int) -> int:
    return max(2, round(LASTS * frames))


def opened(motion: Motion, opening: str, side: str, distance: float) -> Motion:
    """The motion with another beginning. side: "left" or "right". distance: metres from the camera to the person."""
    weight = _fading(len(motion.yaw))
    sign = 1 if side == "left" else -1
    if opening == "turned":
        away = np.clip(sign * TURN - motion.yaw, -TURN - 1, TURN + 1)
        return replace(motion, yaw=motion.yaw + weight * away)
    if opening == "far":
        farther = np.stack([np.zeros_like(weight), FARTHER * distance * weight], 1)
        return replace(motion, place=motion.place + farther)
    if opening == "covered":
        pose = Pose(np.zeros(1))
        pose.arm(side, 1.35, forward=0.95, bend=2.25, twist=-0.28)
        raised = pose.axis_angle()[0]
        body_pose, curl = motion.body_pose.copy(), motion.curl.copy()
        for name in _ARM:
            joint = JOINTS.index(f"{side}_{name}")
            body_pose[:, joint] += weight[:, None] * (raised[joint] - body_pose[:, joint])
        column = 0 if side == "left" else 1
        curl[:, column] *= 1 - weight
        return replace(motion, body_pose=body_pose.astype(np.float32), curl=curl)
    return motion


def _fading(frames: int) -> NDArray[np.float64]:
    """(T,): 1 over the first half of the opening, then smoothly to 0 at its end."""
    x = np.clip((np.arange(frames) / opening_frames(frames) - 0.5) / 0.5, 0, 1)
    return 1 - x * x * (3 - 2 * x)
