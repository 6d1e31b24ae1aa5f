"""The stage that takes the main person's identity: ArcFace where its files are, else nothing, and says so."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.annotate.checksums import weight_digests
from pipelines.annotate.choice import Choice
from pipelines.annotate.clip_stage import ClipInput
from pipelines.annotate.keypoints import KEYPOINTS_FILE, read_keypoints
from pipelines.annotate.people import read_boxes
from pipelines.engine.ledger import Outcome
from pipelines.shard_format import Face, encode_face
from pipelines.stages.dwpose.providers import Device

if TYPE_CHECKING:
    from pipelines.stages.arcface.estimator import ArcFace

FACE_FILE = "face.npz"


class NoFaceStage:
    """No recogniser is there: every sample says so, instead of holding vectors that mean nothing."""

    name = "face"
    version = "1"
    needs: tuple[str, ...] = ("people", "keypoints")

    def identity(self) -> dict[str, Any]:
        return {"estimator": "none"}

    def run(self, clip: ClipInput, folder: Path) -> Outcome:
        (folder / FACE_FILE).write_bytes(encode_face(Face.absent(clip.length)))
        return Outcome(frames=clip.length)


class ArcFaceStage:
    """SCRFD and ArcFace on the main person's face. insightface is loaded only where it is used."""

    name = "face"
    needs: tuple[str, ...] = ("people", "keypoints")

    def __init__(self, choice: Choice, device: Device) -> None:
        from pipelines.stages.arcface.estimator import VERSION

        self.version = VERSION
        self.choice = choice
        self.device = device
        self._arcface: ArcFace | None = None

    def identity(self) -> dict[str, Any]:
        return {"estimator": self.choice.estimator, "weights": weight_digests(self.choice.files)}

    def run(self, clip: ClipInput, folder: Path) -> Outcome:
        if self._arcface is None:
            from pipelines.stages.arcface.estimator import ArcFace

            self._arcface = ArcFace(self.choice.files[0], self.choice.files[1], self.device)
        keypoints = read_keypoints(clip.folders["keypoints"] / KEYPOINTS_FILE)
        face, track = self._arcface(clip.frames.chunks(), read_boxes(clip), keypoints)
        (folder / FACE_FILE).write_bytes(encode_face(face))
        scores = {"faces": float(face.valid.mean())}
        if face.valid.any():
            scores["face_size"] = float(np.median(track.size[face.valid]))
            scores["face_yaw"] = float(np.median(np.abs(track.yaw[face.valid])))
        return Outcome(scores=scores, info={"name": face.model}, frames=clip.length)
