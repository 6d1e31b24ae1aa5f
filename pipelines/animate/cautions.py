"""What may go wrong with a job, told before the GPU is spent: from key points and bodies, without the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.animate.estimates import Estimate
from pipelines.animate.motion import Motion
from pipelines.annotate.keypoints import SEEN
from pipelines.clip import BODY, FACE, LEFT_HAND, RIGHT_HAND, Keypoints

EYES_AND_NOSE = (0, 1, 2)
ANKLES = (15, 16)
# Shares of the driver's frames from which a caution is worth reading.
OFTEN = 0.3


@dataclass(frozen=True)
class Caution:
    """key: stable, see docs/animate.md. message: for people."""

    key: str
    message: str


def cautions_of(reference: Estimate, driving: Estimate, motion: Motion) -> list[Caution]:
    """Every caution of a job, the gravest first. Reads one pass of the swapped key points."""
    found: list[Caution] = []

    def caution(when: bool | np.bool_, key: str, message: str) -> None:
        if when:
            found.append(Caution(key, message))

    ref_legs, legs = _seen(reference.keypoints, ANKLES), _seen(driving.keypoints, ANKLES)
    caution(
        ref_legs < 0.5 <= legs,
        "half_body_reference",
        "the reference is cut above the ankles, the driver is not: what the legs do will not be seen",
    )
    caution(
        legs < 0.5 <= ref_legs,
        "half_body_driver",
        "the driver is cut above the ankles, the reference is not: the legs' motion is a guess",
    )
    unseen = 1 - float(driving.body.valid.mean())
    caution(unseen > 0.02, "unseen", f"the driver's person is not seen in {unseen:.0%} of the frames: they get no pose")
    outside, cut_off = _leaves(motion)
    caution(
        outside > OFTEN,
        "leaves_frame",
        f"in {outside:.0%} of the frames the body reaches beyond the reference's picture",
    )
    caution(cut_off > 0.02, "out_of_frame", f"in {cut_off:.0%} of the frames hardly any of the body is in the picture")
    for what, estimate in (("reference", reference), ("driver", driving)):
        people = round(estimate.scores.get("people", 1))
        who = "the largest is taken" if estimate.source.person is None else f"number {estimate.source.person} is taken"
        caution(people > 1, "several_people", f"up to {people} people are seen in the {what}: {who}")
    eyes = _seen(reference.keypoints, EYES_AND_NOSE)
    no_vector = reference.face is not None and reference.face.model != "none" and not reference.face.valid[0]
    caution(
        eyes < 1 or no_vector, "no_face", "the reference's face is not seen: the person's identity is only half told"
    )
    height = float(reference.scores.get("height", 1.0))
    caution(height < 0.4, "small_reference", f"the person fills only {height:.0%} of the reference's height")
    side = float(driving.scores.get("side", 1000.0))
    caution(side < 160, "small_driver", f"the driver's person has only {side:.0f} pixels: fine motion is not seen")
    hands = np.mean(
        [float((driving.keypoints.scores[:, hand] > SEEN).any(1).mean()) for hand in (LEFT_HAND, RIGHT_HAND)]
    )
    caution(hands < 0.5, "hands_unseen", f"a hand of the driver is seen in {hands:.0%} of the frames only")
    faces = float((driving.keypoints.scores[:, FACE] > SEEN).any(1).mean())
    caution(faces < 0.5, "driver_turned_away", f"the driver's face is seen in {faces:.0%} of the frames only")
    caution(
        driving.scores.get("cut", 0.0) >= 2.0, "cut", "the driving video seems to have a cut: the body will jump there"
    )
    ratio = _share(reference) / max(_share(driving), 1e-6)
    caution(
        not 0.5 < ratio < 2,
        "framing_differs",
        f"the person is {_times(ratio)} in the reference's picture as in the driver's: the motion is scaled to fit",
    )
    return found


def _seen(keypoints: Keypoints, points: Sequence[int]) -> float:
    """Share of these points that are seen."""
    return float((keypoints.scores[:, list(points)] > SEEN).mean())


def _share(estimate: Estimate) -> float:
    """Median height of the person's box over the picture's longer side."""
    boxes = estimate.keypoints.boxes
    heights = (boxes[:, 3] - boxes[:, 1])[np.isfinite(boxes).all(1)]
    return float(np.median(heights)) / max(estimate.size) if len(heights) else 0.0


def _leaves(motion: Motion) -> tuple[float, float]:
    """Shares of the seen frames in which a body point that the driver shows is outside the picture, and in which fewer
    than three are inside."""
    out = gone = count = 0
    start = 0
    for points in motion.keypoints():
        rows = slice(start, start + len(points))
        start += len(points)
        shown = motion.driving.scores[rows, BODY] > SEEN
        kept = points.scores[:, BODY] > SEEN
        valid = motion.sequence.valid[rows]
        count += int(valid.sum())
        out += int(((shown & ~kept).any(1) & valid).sum())
        gone += int(((kept.sum(1) < 3) & valid).sum())
    return out / max(count, 1), gone / max(count, 1)


def _times(ratio: float) -> str:
    return f"{ratio:.1f} times as large" if ratio >= 1 else f"{ratio:.2f} times as large"
