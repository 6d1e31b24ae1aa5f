"""Which of the faces in a picture is the tracked person's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.clip import Floats

from .faces import Faces

# COCO-WholeBody numbers of nose, left eye and right eye, and where the detector has them: the person's left eye is the
# one on the picture's right.
HEAD_POINTS = (0, 1, 2)
IN_DETECTOR = (2, 1, 0)
SEEN = 0.3
# The points of one face by two nets differ by a tenth of its size; the next head is at least a head away.
FARTHEST = 0.5
# How much wider than the box of the person the place is where their face may be.
BOX_MARGIN = 0.1

NOBODY, NO_FACE, HEAD_UNSEEN, OTHER_PERSON = "nobody", "no_face", "head_unseen", "other_person"


def whose_face(
    faces: Faces, box: Floats, points: Floats | None = None, scores: Floats | None = None
) -> int | str:
    """The index of the person's face, or the reason why there is none.

    box: (4,), x0 y0 x1 y1 pixels, the person. points, scores: (133, 2) and (133,), their key points, when there are
    any.

    With key points, the face whose nose and eyes lie nearest to the person's, if they are within half the face's size;
    no face where the key points do not show the head, because then any face that is found is somebody else's. Without,
    the largest face that lies in the person's box.
    """
    if not np.isfinite(box).all():
        return NOBODY
    if not len(faces):
        return NO_FACE
    inside = _inside(faces, np.asarray(box, np.float64))
    if points is None or scores is None:
        return int(np.argmax(np.where(inside, faces.sizes, -1))) if inside.any() else OTHER_PERSON
    seen = [index for index in range(len(HEAD_POINTS)) if scores[HEAD_POINTS[index]] > SEEN]
    if not seen:
        return HEAD_UNSEEN
    expected = points[[HEAD_POINTS[index] for index in seen]]
    found = faces.points[:, [IN_DETECTOR[index] for index in seen]]
    apart = np.linalg.norm(found - expected, axis=-1).mean(axis=1) / np.maximum(faces.sizes, 1e-6)
    nearest = int(np.argmin(np.where(inside, apart, np.inf)))
    return nearest if inside[nearest] and apart[nearest] <= FARTHEST else OTHER_PERSON


def _inside(faces: Faces, box: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n,) whether the middles of the faces are in the box."""
    middles = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
    margin = BOX_MARGIN * (box[2:] - box[:2])
    near = (middles >= box[:2] - margin) & (middles <= box[2:] + margin)
    return np.asarray(near.all(axis=1), bool)
