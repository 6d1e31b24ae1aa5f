"""The stages that look at pixels: who is there, where their points are, whose face it is."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.annotate.clip_stage import ClipInput
from pipelines.clip import Keypoints
from pipelines.engine.atomic import file_digest
from pipelines.engine.ledger import Outcome
from pipelines.settings import plain
from pipelines.shard_format import Face, encode_face, pack_arrays, unpack_arrays
from pipelines.stages.keypoints_blazepose import VERSION as KEYPOINTS_VERSION
from pipelines.stages.keypoints_blazepose import BlazePoseWholeBody
from pipelines.stages.people import VERSION as PEOPLE_VERSION
from pipelines.stages.people import PeopleConfig, PeopleFilter

# The scores that a person needs to understand why a clip was dropped.
DECIDING = ("people", "present", "alone", "rival_area", "height", "side", "cut")
PEOPLE_FILE, KEYPOINTS_FILE, FACE_FILE = "people.npz", "keypoints.npz", "face.npz"


@cache
def weight_digest(path: Path) -> str:
    """sha256 of a weight file; asked for many times, read once."""
    return file_digest(path)


class PeopleStage:
    """Finds the main person and drops clips without exactly one."""

    name = "people"
    needs: tuple[str, ...] = ()

    def __init__(self, config: PeopleConfig, weights: list[Path]) -> None:
        self.version = PEOPLE_VERSION
        self.config = config
        self.weights = weights

    def identity(self) -> dict[str, Any]:
        return {"config": plain(self.config), "weights": {p.name: weight_digest(p) for p in self.weights}}

    def run(self, clip: ClipInput, folder: Path) -> Outcome:
        people = PeopleFilter(self.config)(clip.frames.chunks(), float(clip.fps))
        if people.reason is not None:
            told = ", ".join(f"{name} {people.scores[name]:.3g}" for name in DECIDING if name in people.scores)
            return Outcome("dropped", people.reason, told, scores=people.scores, frames=clip.length)
        (folder / PEOPLE_FILE).write_bytes(pack_arrays({"boxes": people.boxes}))
        return Outcome(scores=people.scores, frames=clip.length)


class LiteKeypointsStage:
    """133 points from the BlazePose, hand and face nets that are shipped."""

    name = "keypoints"
    needs: tuple[str, ...] = ("people",)

    def __init__(self, weights: list[Path]) -> None:
        self.version = KEYPOINTS_VERSION
        self.weights = weights

    def identity(self) -> dict[str, Any]:
        return {"estimator": "blazepose", "weights": {p.name: weight_digest(p) for p in self.weights}}

    def run(self, clip: ClipInput, folder: Path) -> Outcome:
        boxes = unpack_arrays((clip.folders["people"] / PEOPLE_FILE).read_bytes())["boxes"]
        keypoints = BlazePoseWholeBody()(clip.frames.chunks(), boxes)
        write_keypoints(folder / KEYPOINTS_FILE, keypoints)
        seen = keypoints.scores > 0.3
        return Outcome(
            scores={
                "body_points": float(seen[:, :17].sum(1).mean()),
                "hands_seen": float((seen[:, 91:112].any(1) | seen[:, 112:133].any(1)).mean()),
                "face_seen": float(seen[:, 23:91].any(1).mean()),
            },
            info={"estimator": keypoints.estimator},
            frames=clip.length,
        )


class NoFaceStage:
    """No recogniser is there: every sample says so, instead of holding vectors that mean nothing."""

    name = "face"
    version = "1"
    needs: tuple[str, ...] = ("people",)

    def identity(self) -> dict[str, Any]:
        return {"estimator": "none"}

    def run(self, clip: ClipInput, folder: Path) -> Outcome:
        (folder / FACE_FILE).write_bytes(encode_face(Face.absent(clip.length)))
        return Outcome(info={"estimator": "none"}, frames=clip.length)


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
    arrays = unpack_arrays(path.read_bytes(), str(path))
    world = arrays.get("world")
    return Keypoints(
        arrays["points"],
        arrays["scores"],
        arrays["boxes"],
        str(arrays["estimator"]),
        None if world is None else np.asarray(world, np.float32),
    )
