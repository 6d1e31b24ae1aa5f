"""Poses and faces of both sides of a pair, by the project's own estimators."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipelines.clip import Floats, Frames, Keypoints
from pipelines.evaluate.availability import Available
from pipelines.evaluate.metrics.face_cosine import face_cosines
from pipelines.evaluate.metrics.pose_error import pose_errors
from pipelines.stages.dwpose.providers import Device
from pipelines.stages.people import PeopleFilter

if TYPE_CHECKING:
    from pipelines.stages.arcface.estimator import ArcFace

FramesAgain = Callable[[], Iterator[Frames]]
# Boxes are looked for this often; between two looks they are interpolated.
RATE = 25.0


class PoseEstimator:
    """The main person's 133 points through a video: DWPose and YOLOX where their files are, else BlazePose."""

    def __init__(self, available: Available, device: str) -> None:
        from pipelines.stages.dwpose.people_yolox import YoloxLook
        from pipelines.stages.dwpose.yolox import Yolox

        people, keypoints = available.people, available.keypoints
        on: Device = "cuda" if device == "cuda" else "cpu"
        look = YoloxLook(Yolox(people[1][0], on)) if people[0] == "yolox" else None
        self.people = PeopleFilter(look=look)
        self.estimate: Callable[..., Keypoints]
        if keypoints[0] == "dwpose":
            from pipelines.stages.dwpose.estimator import DWPose

            self.estimate = DWPose(keypoints[1][0], on)
        else:
            from pipelines.stages.keypoints_blazepose import BlazePoseWholeBody

            self.estimate = BlazePoseWholeBody()

    def __call__(self, frames: FramesAgain) -> Keypoints:
        """Reads the video twice, frame by frame."""
        boxes = self.people((frame[None] for frame in frames()), RATE).boxes
        return self.estimate((frame[None] for frame in frames()), boxes)


class Estimators:
    """What is needed of poses and faces, loaded when first used."""

    def __init__(self, available: Available, device: str) -> None:
        self.available, self.device = available, device
        self.pose = PoseEstimator(available, device)
        self._arcface: ArcFace | None = None

    def measure(
        self, generated: FramesAgain, truth: FramesAgain, *, faces: bool
    ) -> dict[str, NDArray[np.float64]]:
        """`pose_error`, `pose_missed` and, with faces, `face_cosine`, each (T,), NaN where the truth shows nothing."""
        ours, wanted = self.pose(generated), self.pose(truth)
        error, missed = pose_errors(ours, wanted)
        values = {"pose_error": error, "pose_missed": missed}
        if faces:
            (a, shows), (b, known) = self._faces(generated, ours), self._faces(truth, wanted)
            values["face_cosine"] = face_cosines(a, shows, b, known)
        return values

    def _faces(self, frames: FramesAgain, keypoints: Keypoints) -> tuple[Floats, NDArray[np.bool_]]:
        if self._arcface is None:
            from pipelines.stages.arcface.estimator import ArcFace

            assert self.available.face is not None, "asked for only where the pack is there"
            detector, recogniser = self.available.face
            self._arcface = ArcFace(detector, recogniser, "cuda" if self.device == "cuda" else "cpu")
        _, track = self._arcface((frame[None] for frame in frames()), keypoints.boxes, keypoints)
        return track.embeddings, track.valid
