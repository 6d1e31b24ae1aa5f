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
    """Weights are relative to one key point that lies 1 % of a standing person's height (1.7 m) off.

    focal_scale: the focal length is this times the image's longer side. 1.2 is a field of view of 45 degrees along that
        side, between a phone's main camera (about 0.75 to 1) and a portrait lens (2 and more).
    min_score: points below it are unseen. min_points: visible body points that make a frame valid.
    iterations: steps of the optimiser.
    body_weight, head_weight (nose, eyes; ears half), hip_weight, feet_weight, face_weight, contour_weight, hand_weight:
        of one point of each kind, times the square of its score. Hips lie elsewhere for estimators than for the body.
    cut_leg_weight: factor for knees whose ankles are unseen; estimators put them into the picture, as if people sat.
    robust_scale: units beyond which a point counts as wrong (Geman-McClure).
    direction_sigma: radians by which world landmarks may differ (legs: four times). size_sigma: relative error of their
        size; small, because nothing else tells the size of a person.
    pose_weight: pull to the natural pose. shape_weight, expression_weight: pull to zero per squared coefficient.
    upright_weight: of one minus the cosine of the pelvis' lean, in frames that show no ankle.
    smooth_joints, smooth_depth: metres per squared frame of joint acceleration across the picture and in depth that
        cost one unit; smooth_angles: the same for joint angles, radians.
    refine_sigma: radians; how strongly a given initial sequence holds its joints.
    learning_rate: of joint angles, radians per step at the start.
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
    upright_weight: float = 40.0
    smooth_joints: float = 0.03
    smooth_depth: float = 0.009
    smooth_angles: float = 0.11
    refine_sigma: float = 0.15
    learning_rate: float = 0.02
