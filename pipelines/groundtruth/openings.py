"""How clips begin: with the face turned away, behind the hands or far off, so that a first frame says little of it.

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
_ARMS = [JOINTS.index(f"{side}_{part}") for side in ("left", "right") for part in ("shoulder", "elbow")]


def opening_frames(frames: int) -> int:
    return max(2, round(LASTS * frames))


def opened(motion: Motion, opening: str, side: str, distance: float) -> Motion:
    """The motion with another beginning.

    side: "left" or "right", where to the person turns away. distance: metres from the camera to the person.
    """
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
        pose.arm("left", 1.3, forward=1.22, bend=2.15, twist=-0.52)
        pose.arm("right", 1.3, forward=1.32, bend=2.15, twist=-0.52)
        raised = pose.axis_angle()[0]
        body_pose = motion.body_pose.copy()
        for joint in _ARMS:
            body_pose[:, joint] += weight[:, None] * (raised[joint] - body_pose[:, joint])
        return replace(motion, body_pose=body_pose.astype(np.float32), curl=motion.curl * (1 - weight[:, None]))
    return motion


def _fading(frames: int) -> NDArray[np.float64]:
    """(T,): 1 over the first half of the opening, then smoothly to 0 at its end."""
    x = np.clip((np.arange(frames) / opening_frames(frames) - 0.5) / 0.5, 0, 1)
    return 1 - x * x * (3 - 2 * x)
