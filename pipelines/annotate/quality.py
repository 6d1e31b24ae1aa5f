"""The last stage of a clip: the scores of all the others become keep or drop."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.annotate.clip_stage import ClipInput
from pipelines.annotate.keypoints import KEYPOINTS_FILE, SEEN, read_keypoints
from pipelines.clip import BODY, Floats
from pipelines.engine.ledger import Outcome


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
    """Keep or drop."""

    name = "quality"
    version = "1"
    needs: tuple[str, ...] = ("people", "keypoints", "face", "body", "render")

    def __init__(self, config: QualityConfig) -> None:
        self.config = config

    def identity(self) -> dict[str, Any]:
        return {"config": asdict(self.config)}

    def run(self, clip: ClipInput, folder: Path) -> Outcome:
        keypoints = read_keypoints(clip.folders["keypoints"] / KEYPOINTS_FILE)
        scores = {name: value for stage in self.needs for name, value in clip.outcomes[stage].scores.items()}
        height = float(np.nanmedian(np.maximum(keypoints.boxes[:, 3] - keypoints.boxes[:, 1], 1.0)))
        scores["jitter"] = jitter(keypoints.points[:, BODY], keypoints.scores[:, BODY], height)
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


def jitter(points: Floats, scores: Floats, height: float) -> float:
    """Median length of the second difference of seen points, pixels (T, J, 2), as a share of `height`. 0 if T < 3."""
    if len(points) < 3:
        return 0.0
    acceleration = np.linalg.norm(points[2:] - 2 * points[1:-1] + points[:-2], axis=-1)
    seen = (scores[2:] > SEEN) & (scores[1:-1] > SEEN) & (scores[:-2] > SEEN)
    return float(np.median(acceleration[seen]) / height) if seen.any() else 0.0
