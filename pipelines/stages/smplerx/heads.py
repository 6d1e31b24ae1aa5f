"""The heads of SMPLer-X: joint positions, body rotations, boxes of hands and face, hand features, hand and face values.

Module names and widths are those of the published checkpoints. Source: SMPLer-X common/nets/smpler_x.py.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from .readout import features_at, soft_argmax
from .roi_align import roi_align

DEPTH_CELLS = 16
BODY_POINTS, HAND_POINTS = 25, 20
BODY_JOINTS, HAND_JOINTS = 21, 15
POINT_FEATURES = 512
HAND_CELLS = 16
# The hands' features are cropped from a map this many times finer than the encoder's.
HAND_UPSCALE = 4
BOX_UPSCALE = 8
BOX_WIDTH = 256


def _upsampling(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(after)]
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def _in_own_type(layers: nn.Sequential, features: Tensor) -> Tensor:
    """Run layers that may be kept in another float type than what surrounds them; float32 out."""
    return layers(features.to(next(layers.parameters()).dtype)).float()


def _pointwise(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 1))


def _linear(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(before, after))


class PositionNet(nn.Module):
    """Joints as the centres of 3-D heat maps."""

    def __init__(self, width: int, points: int) -> None:
        super().__init__()
        self.conv = _pointwise(width, points * DEPTH_CELLS)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """features: (N, width, H, W). Returns logits (N, J, 16, H, W) and points (N, J, 3), x y z in cells."""
        volumes = self.conv(features).unflatten(1, (-1, DEPTH_CELLS))
        return volumes, soft_argmax(volumes)


class BodyRegressor(nn.Module):
    """Rotations (6-D) of pelvis and body, shape and raw camera."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body_conv = _linear(width, POINT_FEATURES)
        gathered = BODY_POINTS * (POINT_FEATURES + 3)
        self.root_pose_out = _linear(gathered, 6)
        self.body_pose_out = _linear(gathered, BODY_JOINTS * 6)
        self.shape_out = _linear(width, 10)
        self.cam_out = _linear(width, 3)

    def forward(
        self, body_tokens: Tensor, shape_token: Tensor, camera_token: Tensor, points: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """tokens: (N, 25, width), (N, width), (N, width). points: (N, 25, 3).

        Returns (N, 6), (N, 126), (N, 10), (N, 3).
        """
        gathered = torch.cat([self.body_conv(body_tokens), points], dim=2).flatten(1)
        return (
            self.root_pose_out(gathered),
            self.body_pose_out(gathered),
            self.shape_out(shape_token),
            self.cam_out(camera_token),
        )


class BoxNet(nn.Module):
    """Where the left hand, the right hand and the face are."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.deconv = _upsampling(width + BODY_POINTS * DEPTH_CELLS, BOX_WIDTH, BOX_WIDTH, BOX_WIDTH)
        self.bbox_center = _pointwise(BOX_WIDTH, 3)
        self.lhand_size, self.rhand_size, self.face_size = (
            nn.Sequential(nn.Linear(BOX_WIDTH, BOX_WIDTH), nn.ReLU(inplace=True), nn.Linear(BOX_WIDTH, 2))
            for _ in range(3)
        )

    def forward(self, features: Tensor, heat: Tensor) -> tuple[Tensor, Tensor]:
        """features: (N, width, 16, 12). heat: (N, 25, 16, 16, 12), the softmax of the body's volumes.

        Returns centres and sizes (N, 3, 2), x y, in cells of the encoder's map.
        """
        fine = _in_own_type(self.deconv, torch.cat([features, heat.flatten(1, 2)], dim=1))
        centres = soft_argmax(self.bbox_center(fine))
        at = features_at(fine, centres)
        heads = (self.lhand_size, self.rhand_size, self.face_size)
        sizes = torch.stack([head(at[:, part]) for part, head in enumerate(heads)], dim=1)
        return centres / BOX_UPSCALE, sizes


class HandFeatures(nn.Module):
    """Features of both hands from a finer map, the left hand flipped so that it looks like a right one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.deconv = _upsampling(width, width // 2, width // 4)
        self.conv = _pointwise(width // 4, width)

    def forward(self, features: Tensor, left: Tensor, right: Tensor) -> Tensor:
        """features: (N, width, 16, 12). left, right: (N, 4), x0 y0 x1 y1 in cells of that map.

        Returns (2 N, width, 16, 16): all left hands (flipped), then all right ones.
        """
        fine = _in_own_type(self.deconv, features)
        left_features = roi_align(fine, left * HAND_UPSCALE, HAND_CELLS).flip(3)
        right_features = roi_align(fine, right * HAND_UPSCALE, HAND_CELLS)
        return self.conv(torch.cat([left_features, right_features]))


class HandRegressor(nn.Module):
    """Rotations (6-D) of the joints of right hands."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hand_conv = nn.Sequential(
            nn.Conv2d(width, POINT_FEATURES, 1), nn.BatchNorm2d(POINT_FEATURES), nn.ReLU(inplace=True)
        )
        self.hand_pose_out = _linear(HAND_POINTS * (POINT_FEATURES + 3), HAND_JOINTS * 6)

    def forward(self, features: Tensor, points: Tensor) -> Tensor:
        """features: (N, width, 16, 16). points: (N, 20, 3), cells. Returns (N, 90)."""
        at = features_at(self.hand_conv(features), points[..., :2])
        return self.hand_pose_out(torch.cat([at, points], dim=2).flatten(1))


class FaceRegressor(nn.Module):
    """Expression and rotation (6-D) of the jaw."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expr_out = _linear(width, 10)
        self.jaw_pose_out = _linear(width, 6)

    def forward(self, expression_token: Tensor, jaw_token: Tensor) -> tuple[Tensor, Tensor]:
        """tokens: (N, width). Returns (N, 10) and (N, 6)."""
        return self.expr_out(expression_token), self.jaw_pose_out(jaw_token)


def square_boxes(centres: Tensor, sizes: Tensor, growth: float) -> Tensor:
    """Boxes (N, 4), x0 y0 x1 y1, of centres and sizes (N, 2), all in cells of the encoder's map.

    The longer side counts for both (a cell is 16 x 16 pixels of the input, so square in cells is square in pixels),
    times `growth`. A negative size gives a box whose ends are swapped, as in the published code. Source: SMPLer-X
    common/utils/transforms.py:restore_bbox with aspect ratio 1.
    """
    half = sizes.amax(dim=1, keepdim=True) * growth / 2
    return torch.cat([centres - half, centres + half], dim=1)

