"""The stages behind the pixels: the body, its rendering maps, and the decision over everything measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.annotate.clip_stage import ClipInput
from pipelines.annotate.perceive import KEYPOINTS_FILE, read_keypoints, weight_digest
from pipelines.body.fit import VERSION as FIT_VERSION
from pipelines.body.fit import FitConfig, FitError, fit_sequence
from pipelines.body.model import Body, load_body
from pipelines.body.render import VERSION as RENDER_VERSION
from pipelines.body.render import render_sequence
from pipelines.clip import BODY
from pipelines.engine.ledger import Outcome
from pipelines.settings import plain
from pipelines.shard_format import decode_body, encode_body
from pipelines.video.encode import MapsWriter

BODY_FILE, RENDER_FILE = "smplx.npz", "render.mp4"


class BodyFitStage:
    """SMPL-X fitted to the key points of the whole clip."""

    name = "body"
    needs: tuple[str, ...] = ("keypoints",)

    def __init__(self, config: FitConfig, body_file: Path) -> None:
        self.version = FIT_VERSION
        self.config = config
        self.body_file = body_file
        self._body: Body | None = None

    def identity(self) -> dict[str, Any]:
        return {
            "estimator": "fit",
            "config": plain(self.config),
            "weights": {"body": weight_digest(self.body_file)},
        }

    def run(self, clip: ClipInput, folder: Path) -> Outcome:
        self._body = self._body or load_body(self.body_file)
        keypoints = read_keypoints(clip.folders["keypoints"] / KEYPOINTS_FILE)
        try:
            result = fit_sequence(self._body, keypoints, clip.size, self.config)
        except FitError as error:
            return Outcome("dropped", error.reason, str(error), frames=clip.length)
        (folder / BODY_FILE).write_bytes(encode_body(result.sequence))
        return Outcome(
            scores=result.scores, info={"estimator": "fit", "body_hash": self._body.hash}, frames=clip.length
        )


class RenderStage:
    """Rendering maps of the body: shaded, and part labels without loss."""

    name = "render"
    needs: tuple[str, ...] = ("body",)

    def __init__(self, body_file: Path) -> None:
        self.version = RENDER_VERSION
        self.body_file = body_file
        self._body: Body | None = None

    def identity(self) -> dict[str, Any]:
        return {"estimator": "numba", "weights": {"body": weight_digest(self.body_file)}}

    def run(self, clip: ClipInput, folder: Path) -> Outcome:
        self._body = self._body or load_body(self.body_file)
        sequence = decode_body((clip.folders["body"] / BODY_FILE).read_bytes())
        covered: list[float] = []
        with MapsWriter(folder / RENDER_FILE, clip.size, clip.fps) as writer:
            for shaded, labels in render_sequence(self._body, sequence, clip.size):
                covered.append(float((labels > 0).mean()))
                writer.write_pair(shaded, labels)
        return Outcome(
            scores={"rendered_area": float(np.mean(covered))}, info={"estimator": "numba"}, frames=clip.length
        )


@dataclass(frozen=True)
class QualityConfig:
    """What a clip must have to be kept. A changed threshold re-runs this stage alone.

    min_body_points: mean number of the 17 body points seen (score over 0.3); a half body has about 11.
    max_reprojection: median distance of the fitted body's joints to the key points, as a share of the box height.
    max_jitter: median acceleration of the seen body points, share of the box height per frame squared.
    """

    min_body_points: float = 8.0
    max_reprojection: float = 0.06
    max_jitter: float = 0.05


class QualityStage:
    """Turns the scores of all stages into keep or drop."""

    name = "quality"
    version = "1"
    needs: tuple[str, ...] = ("people", "keypoints", "body", "render")

    def __init__(self, config: QualityConfig) -> None:
        self.config = config

    def identity(self) -> dict[str, Any]:
        return {"config": asdict(self.config)}

    def run(self, clip: ClipInput, folder: Path) -> Outcome:
        keypoints = read_keypoints(clip.folders["keypoints"] / KEYPOINTS_FILE)
        scores = {name: value for stage in self.needs for name, value in clip.outcomes[stage].scores.items()}
        heights = np.maximum(keypoints.boxes[:, 3] - keypoints.boxes[:, 1], 1.0)
        scores["jitter"] = jitter(keypoints.points[:, BODY], keypoints.scores[:, BODY], float(np.nanmedian(heights)))
        checks = (
            ("few_key_points", "body_points", scores["body_points"] >= self.config.min_body_points),
            ("body_does_not_fit", "reprojection", scores["reprojection"] <= self.config.max_reprojection),
            ("jitter", "jitter", scores["jitter"] <= self.config.max_jitter),
        )
        for reason, score, passed in checks:
            if not passed:
                message = f"{score} is {scores[score]:.3g}, limits: {asdict(self.config)}"
                return Outcome("dropped", reason, message, scores=scores, frames=clip.length)
        return Outcome(scores=scores, frames=clip.length)


def jitter(points: np.ndarray, scores: np.ndarray, height: float) -> float:
    """Median length of the second difference of seen points, pixels (T, J, 2), as a share of `height`. 0 if T < 3."""
    if len(points) < 3:
        return 0.0
    acceleration = np.linalg.norm(points[2:] - 2 * points[1:-1] + points[:-2], axis=-1)
    seen = (scores[2:] > 0.3) & (scores[1:-1] > 0.3) & (scores[:-2] > 0.3)
    return float(np.median(acceleration[seen]) / height) if seen.any() else 0.0
