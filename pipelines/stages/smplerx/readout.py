"""From heat maps and regressed numbers to coordinates and rotations."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def soft_argmax(logits: Tensor) -> Tensor:
    """The mean position, x y (z) in cells, under the softmax of maps (N, J, H, W) or volumes (N, J, D, H, W).

    Source: Integral Human Pose Regression (Sun et al. 2018), Eq. 2.
    """
    share = spread(logits)
    axes = range(2, share.ndim)
    means = []
    for axis in reversed(axes):
        along = share.sum(dim=[other for other in axes if other != axis])
        means.append(along @ torch.arange(share.shape[axis], dtype=along.dtype, device=along.device))
    return torch.stack(means, dim=-1)


def spread(logits: Tensor) -> Tensor:
    """float32 softmax over all cells of maps (N, J, ...); same shape."""
    return functional.softmax(logits.float().flatten(2), dim=2).view(logits.shape)


def features_at(features: Tensor, points: Tensor) -> Tensor:
    """Features (N, C, H, W) at points (N, J, 2), x y in cells, bilinear, zero outside: (N, J, C)."""
    limits = torch.tensor([features.shape[3] - 1, features.shape[2] - 1], dtype=points.dtype, device=points.device)
    grid = (points / limits * 2 - 1)[:, :, None]
    return functional.grid_sample(features, grid, align_corners=True)[..., 0].transpose(1, 2)


def rotations_from_6d(values: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of numbers (..., 6): the first two columns, row by row, made orthonormal.

    Source: On the Continuity of Rotation Representations (Zhou et al. 2019), Eq. 15, with SMPLer-X's order of numbers.
    """
    columns = values.float().unflatten(-1, (3, 2))
    first = functional.normalize(columns[..., 0], dim=-1)
    second = columns[..., 1]
    second = functional.normalize(second - (first * second).sum(-1, keepdim=True) * first, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=-1)


def mirrored(rotations: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) seen in a mirror across x = 0: the axis-angle's y and z change sign."""
    sign = torch.tensor([-1.0, 1.0, 1.0], dtype=rotations.dtype, device=rotations.device)
    return rotations * sign[:, None] * sign
