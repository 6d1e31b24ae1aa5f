"""The settings of the fit and its error, apart from the fit itself: whoever only plans a fit need not load torch."""

from __future__ import annotations

from dataclasses import dataclass

# Bump when the output changes.
VERSION = "1"


class FitError(Exception):
    """The clip cannot be fitted; `reason` is the key under which the clip is dropped."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class FitConfig:
    """Weights are relative to a key point that lies 1 % of a standing person's height (1.7 m) off.

    focal_scale: the focal length is this times the image's longer side. 1.2 is a field of view of 45
        degrees along that side, between a phone's main camera (about 0.75 to 1) and a portrait lens (2 and more).
    min_score: points below it are unseen. min_points: visible body points that make a frame valid.
    cut_leg_weight: factor for knees whose ankles are unseen; estimators put them into the picture, as if people sat.
    iterations: steps of the optimiser; the first half fits limbs coarsely, the second everything.
    direction_sigma: radians by which world landmarks may differ. size_sigma: relative error of their size.
    refine_sigma: radians; how strongly a given initial sequence holds its joints.
    """

    focal_scale: float = 1.2
    min_score: float = 0.3
    min_points: int = 4
    iterations: int = 180
    body_weight: float = 1.0
    head_weight: float = 0.4
    hip_weight: float = 0.4
    feet_weight: float = 0.4
    face_weight: float = 0.04
    contour_weight: float = 0.015
    hand_weight: float = 0.25
    cut_leg_weight: float = 0.1
    robust_scale: float = 5.0
    direction_sigma: float = 0.2
    size_sigma: float = 0.01
    pose_weight: float = 0.07
    shape_weight: float = 0.3
    expression_weight: float = 0.3
    smooth_joints: float = 0.03
    smooth_depth: float = 0.009
    smooth_angles: float = 0.11
    refine_sigma: float = 0.15
    learning_rate: float = 0.02
