"""Fit an SMPL-X body to the key points of a whole clip.

One shape and one focal length per clip; root, pose, hands, jaw and expression per frame. The start is computed from
world landmarks (or lifted from the image, or given), then all frames are optimised together on joints and a few
surface points, never on the mesh. The same input gives the same bytes.

What one camera cannot tell: the distance of a person whose size is unknown. It is settled by a default focal length
and by the size in the world landmarks where there are any, else by the shape prior.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipelines.body.fit_config import FitConfig, FitError
from pipelines.body.fit_problem import Problem
from pipelines.body.kinematics import kinematics_of
from pipelines.body.model import Body
from pipelines.clip import BODY, BodySequence, Camera, Floats, Keypoints

__all__ = ["FitConfig", "FitError", "FitResult", "default_camera", "fit_sequence"]


@dataclass(frozen=True)
class FitResult:
    """sequence: the fitted body. errors: float32 (T, 133), pixels from each key point, NaN where unseen.

    scores: `reprojection` (median error of the 17 body points over the box height), `visible` (share of valid frames),
    `loss` (the objective at the end).
    """

    sequence: BodySequence
    errors: Floats
    scores: dict[str, float] = field(default_factory=dict)


def default_camera(size: tuple[int, int], config: FitConfig | None = None) -> Camera:
    """The camera assumed of a picture of size (width, height)."""
    config = config or FitConfig()
    return Camera(config.focal_scale * max(size), (size[0] / 2, size[1] / 2), size)


def fit_sequence(
    body: Body,
    keypoints: Keypoints,
    size: tuple[int, int],
    config: FitConfig | None = None,
    initial: BodySequence | None = None,
) -> FitResult:
    """Fit one person over a clip.

    size: (width, height) of the image. initial: a sequence of the same length and body file to be refined so that it
    re-projects onto the points; its camera is kept.
    Raises FitError (`no_points`, `nan_points`) where the points do not allow a fit, ValueError for wrong shapes.
    """
    config = config or FitConfig()
    seen = _seen(keypoints, size, config)
    valid = seen[:, BODY].sum(1) >= config.min_points
    if not valid.any():
        raise FitError("no_points", f"no frame of {len(keypoints)} shows {config.min_points} body points")
    if initial is not None and len(initial) != len(keypoints):
        raise ValueError(f"the initial sequence has {len(initial)} frames, the key points {len(keypoints)}")
    if initial is not None and initial.body_hash != body.hash:
        raise ValueError(f"the initial sequence is of body file {initial.body_hash[:12]}, not of {body.path}")
    camera = initial.camera if initial is not None else default_camera(size, config)

    problem = Problem(kinematics_of(body), keypoints, seen, valid, camera, config, initial)
    loss = problem.solve()
    sequence = problem.result(body.hash)

    errors = np.full(seen.shape, np.nan, np.float32)
    for rows, wholebody in problem.wholebody():
        projected = camera.project(np.maximum(wholebody, [-np.inf, -np.inf, 0.1]))
        away = np.linalg.norm(projected - keypoints.points[rows], axis=-1)
        errors[rows] = np.where(seen[rows], away, np.nan)
    heights = (keypoints.boxes[:, 3] - keypoints.boxes[:, 1])[:, None]
    relative = (errors[:, BODY] / heights)[valid]
    relative = relative[np.isfinite(relative)]
    scores = {
        "reprojection": float(np.median(relative)) if len(relative) else float("nan"),
        "visible": float(valid.mean()),
        "loss": loss,
    }
    return FitResult(sequence, errors, scores)


def _seen(keypoints: Keypoints, size: tuple[int, int], config: FitConfig) -> NDArray[np.bool_]:
    frames = len(keypoints.points)
    for name, array, shape in (
        ("points", keypoints.points, (frames, 133, 2)),
        ("scores", keypoints.scores, (frames, 133)),
        ("boxes", keypoints.boxes, (frames, 4)),
        ("world", keypoints.world, (frames, 33, 3)),
    ):
        if array is not None and array.shape != shape:
            raise ValueError(f"key points: expected {name} of shape {shape}, got {array.shape}")
    seen = keypoints.scores >= config.min_score
    # What lies outside the picture is an estimator's guess.
    with np.errstate(invalid="ignore"):
        outside = ((keypoints.points < 0) | (keypoints.points > np.array(size))).any(-1)
    seen &= ~outside
    bad = seen & ~np.isfinite(keypoints.points).all(-1)
    if bad.any():
        frame, point = np.argwhere(bad)[0]
        raise FitError("nan_points", f"point {point} of frame {frame} has a score but is not finite ({bad.sum()} such)")
    return seen
