"""The things that flow between stages: plain frozen dataclasses of arrays, with their shapes, units and conventions.

Image coordinates are continuous pixels: an image of width W spans [0, W], and the centre of its top-left pixel is
(0.5, 0.5). They therefore survive a resize by a plain multiplication. x points right, y down.

Camera coordinates follow OpenCV: x right, y down, z forward, metres. A body is stored in the camera's frame.
"left" and "right" are always the person's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Frames = NDArray[np.uint8]

# Slices of the 133 COCO-WholeBody points.
BODY = slice(0, 17)
FEET = slice(17, 23)
FACE = slice(23, 91)
LEFT_HAND = slice(91, 112)
RIGHT_HAND = slice(112, 133)


@dataclass(frozen=True)
class People:
    """Who is in a clip: the main person's box in every frame, and what was seen of others.

    boxes: float32 (T, 4), x0 y0 x1 y1 in pixels, the main person; NaN in frames where nobody was found.
    reason: why the clip is to be dropped, or None when it is kept. One of the keys documented in docs/formats.md.
    scores: every measured number behind the decision, by name.
    """

    boxes: Floats
    reason: str | None
    scores: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Keypoints:
    """COCO-WholeBody key points of the main person.

    points: float32 (T, 133, 2), pixels. Finite everywhere; meaningless where the score is 0.
    scores: float32 (T, 133), 0 (not seen) to 1.
    boxes: float32 (T, 4), x0 y0 x1 y1, pixels, the person the points belong to.
    estimator: name and version of what made them.
    world: float32 (T, 33, 3) or None. Metric BlazePose world landmarks: metres, origin between the hips, camera axes
        (x right, y down, z away from the camera). Only estimators that have them give them; NaN where unseen.
    """

    points: Floats
    scores: Floats
    boxes: Floats
    estimator: str
    world: Floats | None = None

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera for a clip: u = focal * X / Z + principal[0], v = focal * Y / Z + principal[1].

    focal: pixels, one per clip. principal: (cx, cy) pixels. size: (width, height) of the image in pixels.
    """

    focal: float
    principal: tuple[float, float]
    size: tuple[int, int]

    def project(self, xyz: Floats) -> Floats:
        """Project points (..., 3) in metres, camera frame, to (..., 2) pixels. Z must be positive."""
        return self.focal * xyz[..., :2] / xyz[..., 2:3] + np.asarray(self.principal, dtype=xyz.dtype)

    def scaled(self, size: tuple[int, int]) -> Camera:
        """The same camera for the same picture resized to `size` (width, height) of the same aspect."""
        k = size[0] / self.size[0]
        return Camera(self.focal * k, (self.principal[0] * k, self.principal[1] * k), size)


@dataclass(frozen=True)
class BodySequence:
    """SMPL-X parameters of one person over a clip, in the camera's frame. Axis-angle, radians; metres.

    betas: float32 (10,), one shape per clip.
    expression: float32 (T, 10).
    global_orient: (T, 3). body_pose: (T, 21, 3). left_hand_pose, right_hand_pose: (T, 15, 3). jaw_pose: (T, 3).
    transl: (T, 3), added after skinning, as `smplx` does.
    flat_hand_mean: the convention of the hand poses, as in `smplx.create`: False means that the values are relative to
        the file's mean hand.
    body_hash: sha256 of the SMPL-X file the shape vector belongs to. Poses carry over between files, betas do not.
    valid: bool (T,), False where the pose was only filled in (nobody visible).
    """

    betas: Floats
    expression: Floats
    global_orient: Floats
    body_pose: Floats
    left_hand_pose: Floats
    right_hand_pose: Floats
    jaw_pose: Floats
    transl: Floats
    camera: Camera
    flat_hand_mean: bool
    body_hash: str
    valid: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.transl)

    def with_shape(self, betas: Floats) -> BodySequence:
        return replace(self, betas=np.asarray(betas, dtype=np.float32))
