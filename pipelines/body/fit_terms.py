"""The terms of the fit's objective. Each is a scalar per clip, already divided by the number of frames."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pipelines.body.kinematics import Kinematics, Posed
from pipelines.body.priors import LIMITS

# BlazePose landmark pairs and the points (smplx's order) between which the body has the same bone.
_BONES = (
    (11, 13, 16, 18), (13, 15, 18, 20), (12, 14, 17, 19), (14, 16, 19, 21),
    (23, 25, 1, 4), (25, 27, 4, 7), (24, 26, 2, 5), (26, 28, 5, 8),
    (24, 23, 2, 1), (12, 11, 17, 16), (23, 11, 1, 16), (24, 12, 2, 17), (8, 7, 58, 59),
)  # fmt: skip
# Of these, the ones whose summed length tells the size of the person.
_SIZED = (*range(8), 10, 11)

# BlazePose sees standing people with bent knees: legs are believed less.
_LEG_DOUBT = 0.25
_DOUBT = np.array([_LEG_DOUBT if 4 <= k < 8 else 1.0 for k in range(len(_BONES))], np.float32)

_WALL = 0.04  # radians beyond a joint limit that cost one unit


def geman_mcclure(squared: Tensor, scale: float) -> Tensor:
    """A robust cost of squared residuals: x for small ones, never more than scale squared (Geman and McClure 1987)."""
    return squared * (scale * scale / (squared + scale * scale))


@dataclass(frozen=True)
class Projection:
    """Distance of projected points from key points.

    points: (T, 133, 2) pixels. weights: (T, 133), 0 where unseen. unit: (T, 1), pixels that cost one unit.
    """

    points: Tensor
    weights: Tensor
    unit: Tensor
    center: Tensor
    focal: float

    def part(self, rows: slice) -> Projection:
        """The same of some frames."""
        return replace(self, points=self.points[rows], weights=self.weights[rows], unit=self.unit[rows])

    def pixels(self, wholebody: Tensor) -> Tensor:
        """Project (T, 133, 3); points at or behind the camera are brought to 0.1 m before it."""
        return self.focal * wholebody[..., :2] / wholebody[..., 2:].clamp_min(0.1) + self.center

    def __call__(self, posed: Posed, scale: float) -> Tensor:
        away = (self.pixels(posed.wholebody) - self.points) / self.unit[..., None]
        return (self.weights * geman_mcclure((away * away).sum(-1), scale)).sum() / len(away)


@dataclass(frozen=True)
class Directions:
    """Directions of bones against BlazePose's world landmarks, which is what tells depth.

    target: (T, 13, 3) unit vectors. weights: (T, 13). sized: the limb and trunk bones that were ever seen; size: their
    summed length in metres (the median over time of each).
    """

    target: Tensor
    weights: Tensor
    sized: tuple[int, ...]
    size: float

    @classmethod
    def of(cls, world: np.ndarray) -> Directions:
        """world: (T, 33, 3) with NaN where unseen."""
        start, end = (np.array([bone[k] for bone in _BONES]) for k in (0, 1))
        bones = (world[:, end] - world[:, start]).astype(np.float64)
        lengths = np.linalg.norm(bones, axis=-1)
        good = np.isfinite(lengths) & (lengths > 1e-3)
        target = np.where(good[..., None], bones / np.where(good, lengths, 1)[..., None], 0)
        sized = tuple(k for k in _SIZED if good[:, k].any())
        size = sum(float(np.median(lengths[good[:, k], k])) for k in sized)
        return cls(
            torch.as_tensor(target, dtype=torch.float32), torch.as_tensor(good, dtype=torch.float32), sized, size
        )

    def part(self, rows: slice) -> Directions:
        """The same of some frames; the size stays the clip's."""
        return replace(self, target=self.target[rows], weights=self.weights[rows])

    def __call__(self, posed: Posed, sigma: float) -> Tensor:
        start, end = (torch.tensor([bone[k] for bone in _BONES]) for k in (2, 3))
        bones = posed.points.index_select(1, end) - posed.points.index_select(1, start)
        away = (bones / (bones.norm(dim=-1, keepdim=True) + 1e-6) - self.target) / sigma
        return (self.weights * geman_mcclure((away * away).sum(-1) * torch.as_tensor(_DOUBT**2), 4.0)).sum() / len(away)

    def sized_shape(self, kinematics: Kinematics) -> Tensor:
        """(10,) the smallest shape coefficients that give the body the landmarks' size; zero where nothing tells it."""
        betas = torch.zeros(10, requires_grad=True)
        if not self.sized:
            return betas.detach()
        error = self.size_error(kinematics, betas)
        (slope,) = torch.autograd.grad(error, betas)
        return (-error * slope / (slope.square().sum() + 1e-4)).detach().clamp(-3, 3)

    def size_error(self, kinematics: Kinematics, betas: Tensor) -> Tensor:
        """Relative difference of the body's summed limb length to the landmarks'."""
        rest = kinematics.rest_joints(betas)
        length = sum((rest[_BONES[k][3]] - rest[_BONES[k][2]]).norm() for k in self.sized)
        return torch.as_tensor(length) / self.size - 1


def beyond_limits(pose: Tensor) -> Tensor:
    """Squared way outside the joint limits, in units of 0.04 rad. pose: (T, 55, 3) axis-angle."""
    low, high = torch.as_tensor(LIMITS).unbind(-1)
    over = torch.relu(pose - high) + torch.relu(low - pose)
    return torch.square(over / _WALL).sum() / len(pose)


def unnatural(pose: Tensor, natural: Tensor, stiffness: Tensor) -> Tensor:
    """Squared distance from the natural pose, (T, 55, 3), times the stiffness of each joint, (55, 3)."""
    return (stiffness * torch.square(pose - natural))[:, 1:].sum() / len(pose)


def acceleration(values: Tensor) -> Tensor:
    """Sum of squared second differences in time of (T, ...), divided by T; zero for fewer than three frames."""
    if len(values) < 3:
        return values.new_zeros(())
    return torch.square(values[2:] - 2 * values[1:-1] + values[:-2]).sum() / len(values)
