"""From BlazePose's 33 points, the 468 of the face mesh and 21 of each hand to the 133 COCO-WholeBody points."""

from __future__ import annotations

import numpy as np

from pipelines.clip import BODY, FACE, FEET, LEFT_HAND, RIGHT_HAND, Floats
from pipelines.stages.blazepose.face import Face
from pipelines.stages.blazepose.hand import Hand
from pipelines.stages.blazepose.pose import Pose

# COCO's 17: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles; left before right.
COCO_FROM_POSE = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)

# Ankle, heel and tip of the toes of the left and of the right foot.
FOOT_FROM_POSE = ((27, 29, 31), (28, 30, 32))

# The 68 iBUG points on the mesh, from the person's right: jaw, brows, nose, eyes, lips.
IBUG_FROM_MESH = (
    *(127, 234, 132, 58, 172, 150, 149, 148, 152, 377, 378, 379, 397, 288, 361, 454, 356),
    *(70, 63, 105, 66, 107),
    *(336, 296, 334, 293, 300),
    *(168, 197, 5, 4),
    *(98, 97, 2, 326, 327),
    *(33, 160, 158, 133, 153, 144),
    *(362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
    *(78, 82, 13, 312, 308, 317, 14, 87),
)

# Where the small toe is from the tip of the foot, in foot lengths: outwards, and back towards the heel. Proportions of
# an adult foot, about 25 cm long and 9 cm wide at the toes.
SMALL_TOE_OUT, SMALL_TOE_BACK = 0.30, 0.18


def small_toe(pose: Pose, left: bool) -> tuple[Floats, float]:
    """A small toe, which BlazePose does not have: point (2,) and score.

    Constructed in the world landmarks from ankle, heel and toe, and taken to the image with the body's own scale. It is
    a guess from anatomy, so its score is half of the least sure of the three.
    """
    rows = FOOT_FROM_POSE[0 if left else 1]
    ankle, heel, toe = pose.world[list(rows)].astype(np.float64)
    along = toe - heel
    out = np.cross(ankle - heel, along) if left else np.cross(along, ankle - heel)
    length, norm = float(np.linalg.norm(along)), float(np.linalg.norm(out))
    offset = -SMALL_TOE_BACK * along
    if norm > 1e-6:
        offset = offset + SMALL_TOE_OUT * length * out / norm
    world, image = pose.world[:, :2].astype(np.float64), pose.points.astype(np.float64)
    world, image = world - world.mean(axis=0), image - image.mean(axis=0)
    scale = (world * image).sum() / max(float((world**2).sum()), 1e-9)
    point = pose.points[rows[2]] + scale * offset[:2]
    return point.astype(np.float32), 0.5 * float(pose.visibility[list(rows)].min())


def assemble(
    pose: Pose, face: Face | None, left: Hand | None, right: Hand | None, size: tuple[int, int]
) -> tuple[Floats, Floats]:
    """points (133, 2) in pixels and scores (133,).

    Body and feet score the net's visibility; a hand and a face score their net's presence, the same for all their
    points. Whatever lies outside the picture of `size` (width, height) scores 0: it cannot be seen. Parts that were
    not found are at the body's wrist or nose, with score 0.
    """
    points = np.empty((133, 2), np.float32)
    scores = np.zeros(133, np.float32)
    points[BODY], scores[BODY] = pose.points[list(COCO_FROM_POSE)], pose.visibility[list(COCO_FROM_POSE)]
    for start, foot in zip((FEET.start, FEET.start + 3), FOOT_FROM_POSE):
        points[start], scores[start] = pose.points[foot[2]], pose.visibility[foot[2]]
        points[start + 1], scores[start + 1] = small_toe(pose, left=start == FEET.start)
        points[start + 2], scores[start + 2] = pose.points[foot[1]], pose.visibility[foot[1]]
    points[FACE] = pose.points[0]
    if face is not None:
        points[FACE], scores[FACE] = face.points[list(IBUG_FROM_MESH)], face.presence
    for part, wrist, hand in ((LEFT_HAND, 15, left), (RIGHT_HAND, 16, right)):
        points[part] = pose.points[wrist]
        if hand is not None:
            points[part], scores[part] = hand.points, hand.presence
    inside = ((points >= 0) & (points <= np.array(size))).all(axis=1)
    return points, np.where(inside, scores.clip(0, 1), 0).astype(np.float32)
