"""SMPLer-X as one network: a crop of a person in, SMPL-X parameters out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .heads import (
    BODY_JOINTS,
    BODY_POINTS,
    HAND_JOINTS,
    HAND_POINTS,
    BodyRegressor,
    BoxNet,
    FaceRegressor,
    HandFeatures,
    HandRegressor,
    PositionNet,
    square_boxes,
)
from .readout import mirrored, rotations_from_6d, spread
from .vit import PATCH, Encoder, EncoderSize

HAND_GROWTH, FACE_GROWTH = 2.0, 1.5
INPUT_HEIGHT, INPUT_WIDTH = 256, 192
FOCAL = 5000.0
# Metres: how much of the world the virtual camera is thought to see.
CAMERA_EXTENT = 2.5
FARTHEST = (FOCAL * FOCAL * CAMERA_EXTENT * CAMERA_EXTENT / (INPUT_HEIGHT * INPUT_WIDTH)) ** 0.5
"""56.38 m: the depth of which the network gives a share between 0 and 1."""


@dataclass(frozen=True)
class Estimate:
    """What the network says of N crops; float32. Rotations are matrices; hands are relative to the mean hand.

    global_orient, jaw_pose: (N, 3, 3). body_pose: (N, 21, 3, 3). left_hand_pose, right_hand_pose: (N, 15, 3, 3).
    betas, expression: (N, 10). cam_trans: (N, 3), metres, x right, y down, z forward, in the crop's virtual camera.
    boxes: (N, 3, 4), x0 y0 x1 y1 of left hand, right hand and face in pixels of the 192x256 input.
    """

    global_orient: Tensor
    body_pose: Tensor
    left_hand_pose: Tensor
    right_hand_pose: Tensor
    jaw_pose: Tensor
    betas: Tensor
    expression: Tensor
    cam_trans: Tensor
    boxes: Tensor


class Network(nn.Module):
    """The network. Its state dict has the names of the published checkpoints after the renames of their code.

    In evaluation mode only: batch normalisation uses the stored statistics.
    """

    def __init__(self, size: EncoderSize) -> None:
        super().__init__()
        width = size.width
        self.encoder = Encoder(size)
        self.body_position_net = PositionNet(width, BODY_POINTS)
        self.body_regressor = BodyRegressor(width)
        self.box_net = BoxNet(width)
        self.hand_roi_net = HandFeatures(width)
        self.hand_position_net = PositionNet(width, HAND_POINTS)
        self.hand_regressor = HandRegressor(width)
        self.face_regressor = FaceRegressor(width)

    def forward(self, image: Tensor) -> Estimate:
        """image: float (N, 3, 256, 192), RGB, 0 to 1."""
        if image.ndim != 4 or image.shape[1:] != (3, INPUT_HEIGHT, INPUT_WIDTH):
            raise ValueError(f"expected (N, 3, {INPUT_HEIGHT}, {INPUT_WIDTH}), got {tuple(image.shape)}")
        features, tokens = self.encoder(image.to(self.encoder.task_tokens.dtype))
        features, tokens = features.float(), tokens.float()
        shape, camera, expression, jaw = tokens[:, :4].unbind(dim=1)

        volumes, points = self.body_position_net(features)
        root, body, betas, raw_camera = self.body_regressor(tokens[:, 6:], shape, camera, points)

        centres, sizes = self.box_net(features, spread(volumes))
        left, right = (square_boxes(centres[:, side], sizes[:, side], HAND_GROWTH) for side in (0, 1))
        face = square_boxes(centres[:, 2], sizes[:, 2], FACE_GROWTH)

        hand_features = self.hand_roi_net(features, left, right)
        _, hand_points = self.hand_position_net(hand_features)
        hands = self.hand_regressor(hand_features, hand_points)
        hand_rotations = rotations_from_6d(hands.unflatten(1, (HAND_JOINTS, 6)))
        flipped_left, right_pose = hand_rotations.chunk(2)
        expression_values, jaw_values = self.face_regressor(expression, jaw)

        return Estimate(
            global_orient=rotations_from_6d(root),
            body_pose=rotations_from_6d(body.unflatten(1, (BODY_JOINTS, 6))),
            left_hand_pose=mirrored(flipped_left),
            right_hand_pose=right_pose,
            jaw_pose=rotations_from_6d(jaw_values),
            betas=betas,
            expression=expression_values,
            cam_trans=torch.cat([raw_camera[:, :2], raw_camera[:, 2:].sigmoid() * FARTHEST], dim=1),
            boxes=torch.stack([left, right, face], dim=1) * PATCH,
        )

    def heavy_in(self, dtype: torch.dtype) -> Network:
        """Put what takes the time (the encoder and the up-sampling convolutions) into `dtype`, in place.

        Positions, boxes and rotations are always computed in float32: bfloat16 would round angles to half a degree.
        """
        for module in (self.encoder, self.box_net.deconv, self.hand_roi_net.deconv):
            module.to(dtype)
        return self
