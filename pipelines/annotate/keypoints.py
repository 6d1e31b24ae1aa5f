"""The stage that finds the 133 points of the main person."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.annotate.checksums import weight_digests
from pipelines.annotate.choice import Choice
from pipelines.annotate.clip_stage import ClipInput
from pipelines.annotate.people import read_boxes
from pipelines.clip import BODY, FACE, LEFT_HAND, RIGHT_HAND, Floats, Keypoints
from pipelines.engine.ledger import Outcome
from pipelines.shard_format import pack_arrays, unpack_arrays
from pipelines.stages import keypoints_blazepose
from pipelines.stages.blazepose.chunks import FrameChunks
from pipelines.stages.dwpose import estimator as dwpose
from pipelines.stages.dwpose.providers import Device

KEYPOINTS_FILE = "keypoints.npz"
SEEN = 0.3


class KeypointsStage:
    """133 points, by DWPose or by the BlazePose, hand and face nets that are shipped."""

    name = "keypoints"
    needs: tuple[str, ...] = ("people",)

    def __init__(self, choice: Choice, device: Device, batch: int) -> None:
        self.choice = choice
        self.device = device
        self.batch = batch
        self._estimate: Callable[[FrameChunks, Floats], Keypoints] | None = None

    @property
    def version(self) -> str:
        return dwpose.VERSION if self.choice.estimator == "dwpose" else keypoints_blazepose.VERSION

    def identity(self) -> dict[str, Any]:
        return {"estimator": self.choice.estimator, "weights": weight_digests(self.choice.files)}

    def run(self, clip: ClipInput, folder: Path) -> Outcome:
        self._estimate = self._estimate or self._load()
        keypoints = self._estimate(clip.frames.chunks(), read_boxes(clip))
        write_keypoints(folder / KEYPOINTS_FILE, keypoints)
        seen = keypoints.scores > SEEN
        hands = seen[:, LEFT_HAND].any(1) | seen[:, RIGHT_HAND].any(1)
        return Outcome(
            scores={
                "body_points": float(seen[:, BODY].sum(1).mean()),
                "hands_seen": float(hands.mean()),
                "face_seen": float(seen[:, FACE].any(1).mean()),
            },
            info={"name": keypoints.estimator},
            frames=clip.length,
        )

    def _load(self) -> Callable[[FrameChunks, Floats], Keypoints]:
        if self.choice.estimator == "dwpose":
            return dwpose.DWPose(self.choice.files[0], self.device, self.batch)
        return keypoints_blazepose.BlazePoseWholeBody()


def write_keypoints(path: Path, keypoints: Keypoints) -> None:
    """The working form of key points: as in the sample, with the world landmarks that the fit uses."""
    arrays: dict[str, Any] = {
        "points": keypoints.points,
        "scores": keypoints.scores,
        "boxes": keypoints.boxes,
        "estimator": keypoints.estimator,
    }
    if keypoints.world is not None:
        arrays["world"] = keypoints.world
    path.write_bytes(pack_arrays(arrays))


def read_keypoints(path: Path) -> Keypoints:
    """What `write_keypoints` wrote."""
    arrays = unpack_arrays(path.read_bytes(), str(path))
    world = arrays.get("world")
    return Keypoints(
        arrays["points"],
        arrays["scores"],
        arrays["boxes"],
        str(arrays["estimator"]),
        None if world is None else np.asarray(world, np.float32),
    )
