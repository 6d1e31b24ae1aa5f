"""The optimisation behind the fit: its variables, its start, its objective and its optimiser."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from pipelines.body.fit_config import FitConfig, FitError
from pipelines.body.fit_initial import initial_pose
from pipelines.body.fit_lift import lifted_world, visible_world
from pipelines.body.fit_terms import Directions, Projection, acceleration, beyond_limits, unnatural
from pipelines.body.kinematics import JOINTS, Kinematics, Posed, full_pose, matrix_from_axis_angle
from pipelines.body.priors import NATURAL_POSE, STIFFNESS
from pipelines.clip import BODY, FACE, FEET, LEFT_HAND, RIGHT_HAND, BodySequence, Camera, Floats, Keypoints

Array = NDArray[np.float64]


class Problem:
    """Variables, targets and objective of one clip."""

    def __init__(
        self,
        kinematics: Kinematics,
        keypoints: Keypoints,
        seen: NDArray[np.bool_],
        valid: NDArray[np.bool_],
        camera: Camera,
        config: FitConfig,
        initial: BodySequence | None,
    ) -> None:
        self.kinematics, self.camera, self.config, self.valid = kinematics, camera, config, valid
        frames = len(keypoints)
        world = np.full((frames, 33, 3), np.nan)
        if keypoints.world is not None:
            world = visible_world(keypoints.world, seen & valid[:, None])
        has_world = bool(np.isfinite(world).any())

        self.directions = Directions.of(world) if has_world and initial is None else None
        self.betas = torch.zeros(10) if self.directions is None else self.directions.sized_shape(kinematics)
        self.expression = torch.zeros(frames, 10)
        rest = self._rest_points()
        self.stiffness = torch.as_tensor(STIFFNESS)
        if initial is None:
            if not has_world:
                world = lifted_world(keypoints.points, seen & valid[:, None], rest)
            start = initial_pose(world, rest)
            hands = kinematics.hands_mean.reshape(30, 3).expand(frames, -1, -1)
            self.base = torch.as_tensor(start.root, dtype=torch.float32)
            self.pose = torch.as_tensor(start.pose, dtype=torch.float32)
            self.pose[:, 25:] = hands
            natural = torch.as_tensor(NATURAL_POSE).expand(frames, -1, -1).clone()
            natural[:, 25:] = hands
        else:
            self.betas = torch.tensor(initial.betas)  # copies: the optimiser works in place
            self.expression = torch.tensor(initial.expression)
            self.base = torch.as_tensor(Rotation.from_rotvec(initial.global_orient).as_matrix(), dtype=torch.float32)
            self.pose = torch.as_tensor(full_pose(kinematics, initial))
            self.pose[:, 0] = 0
            natural = self.pose.clone()
            self.stiffness = torch.clamp_min(self.stiffness, 1 / config.refine_sigma**2)
        self.natural = natural
        self.initial = initial
        self.likely_betas = torch.zeros(10) if initial is None else self.betas.clone()

        points = torch.as_tensor(np.where(seen[..., None], keypoints.points, 0), dtype=torch.float32)
        weights = torch.as_tensor(_weights(keypoints.scores, seen, config))
        center = torch.tensor(camera.principal)
        root = self._initial_root(points, weights, center)
        # A ray and the logarithm of the depth: moving along the ray keeps the projection.
        self.ray = root[:, :2] / root[:, 2:]
        self.log_depth = torch.log(root[:, 2:])
        unit = 0.017 * camera.focal / root[:, 2:]
        self.projection = Projection(points, weights, unit, center, camera.focal)
        # With no foot in the picture only habit tells the pelvis' lean: legs stand, the spine bends.
        self.legless = torch.as_tensor(~seen[:, [15, 16]].any(1), dtype=torch.float32)
        self.turn = torch.zeros(frames, 3)
        for variable in self.variables():
            variable.requires_grad_(True)

    def variables(self) -> list[Tensor]:
        return [self.betas, self.expression, self.turn, self.pose, self.ray, self.log_depth]

    @property
    def root(self) -> Tensor:
        """(T, 3), where the pelvis lies."""
        return torch.cat([self.ray, torch.ones_like(self.log_depth)], -1) * torch.exp(self.log_depth)

    def posed(self, root: Tensor | None = None) -> Posed:
        rotations = matrix_from_axis_angle(self.pose)
        orient = self.base @ matrix_from_axis_angle(self.turn)
        rotations = torch.cat([orient[:, None], rotations[:, 1:]], 1)
        return self.kinematics.pose(self.betas, rotations, self.root if root is None else root, self.expression)

    def objective(self, robust: float) -> Tensor:
        config, posed = self.config, self.posed()
        terms = [
            self.projection(posed, robust),
            beyond_limits(self.pose),
            config.pose_weight * unnatural(self.pose, self.natural, self.stiffness),
            config.shape_weight * torch.square(self.betas - self.likely_betas).sum(),
            config.expression_weight * torch.square(self.expression).sum() / len(self.expression),
            acceleration(posed.joints[:, :25, :2]) / config.smooth_joints**2 / 25,
            acceleration(posed.joints[:, :25, 2]) / config.smooth_depth**2 / 25,
            acceleration(self.pose) / config.smooth_angles**2 / 25,
            acceleration(self.expression) / 0.3**2 / 10,
            config.upright_weight * (self.legless * (1 + posed.rotations[:, 0, 1, 1])).sum() / len(self.legless),
        ]
        if self.directions is not None:
            terms.append(self.directions(posed, config.direction_sigma))
            if self.directions.sized:
                error = self.directions.size_error(self.kinematics, self.betas) / config.size_sigma
                terms.append(torch.square(error))
        return torch.stack(terms).sum()

    def solve(self) -> float:
        """Adam with a cosine schedule; the robust scale narrows from four times to once."""
        steps, rate = self.config.iterations, self.config.learning_rate
        variables = self.variables()
        rates = [rate * factor for factor in (5, 2, 1, 1, 0.2, 0.5)]
        optimizer = _Adam(variables, rates)
        loss = 0.0
        for step in range(steps):
            robust = self.config.robust_scale * (1 + 3 * max(0.0, 1 - 2 * step / steps))
            value = self.objective(robust)
            gradients = torch.autograd.grad(value, variables)
            optimizer.step(gradients, 0.5 * (1 + math.cos(math.pi * step / steps)) + 0.02)
            loss = float(value.detach())
        return loss

    @torch.no_grad()
    def result(self, body_hash: str) -> tuple[BodySequence, Floats]:
        posed = self.posed()
        rest = self.kinematics.rest_joints(self.betas, self.expression)
        orient = Rotation.from_matrix((self.base @ matrix_from_axis_angle(self.turn)).numpy()).as_rotvec()
        pose = self.pose.numpy()
        sequence = BodySequence(
            betas=self.betas.numpy().copy(),
            expression=self.expression.numpy().copy(),
            global_orient=orient.astype(np.float32),
            body_pose=pose[:, 1:22].copy(),
            left_hand_pose=pose[:, 25:40].copy(),
            right_hand_pose=pose[:, 40:55].copy(),
            jaw_pose=pose[:, 22].copy(),
            transl=(self.root - rest[:, 0]).numpy(),
            camera=self.camera,
            flat_hand_mean=True,
            body_hash=body_hash,
            valid=self.valid,
        )
        return sequence, posed.wholebody.numpy()

    def _rest_points(self) -> Array:
        identity = torch.eye(3).expand(1, JOINTS, 3, 3)
        return self.kinematics.pose(self.betas, identity, torch.zeros(1, 3)).points[0].double().numpy()

    def _initial_root(self, points: Tensor, weights: Tensor, center: Tensor) -> Tensor:
        """Where the pelvis must be for the posed points to project onto the key points: robust linear least squares."""
        frames = len(points)
        self.turn = torch.zeros(frames, 3)
        if self.initial is not None:
            rest = self.kinematics.rest_joints(self.betas, self.expression)[:, 0]
            return rest + torch.as_tensor(self.initial.transl)
        with torch.no_grad():
            offsets = self.posed(torch.zeros(frames, 3)).wholebody[:, BODY].double().numpy()
        rays = ((points - center) / self.camera.focal)[:, BODY].double().numpy()
        root = np.full((frames, 3), np.nan)
        for t in np.flatnonzero(self.valid):
            root[t] = _place(offsets[t], rays[t], weights[t, BODY].double().numpy())
        good = np.flatnonzero(np.isfinite(root).all(-1) & (root[:, 2] > 0.3))
        if not len(good):
            raise FitError("no_points", "the visible body points coincide; no body can be placed on them")
        filled = [np.interp(np.arange(frames), good, root[good, axis]) for axis in range(3)]
        return torch.as_tensor(np.stack(filled, -1), dtype=torch.float32)


def _place(offsets: Array, rays: Array, weights: Array) -> Array:
    """The root (3,) that puts points root + offsets (N, 3) onto rays (N, 2); points that stay far off lose weight."""
    columns = np.zeros((2, len(rays), 3))
    columns[0, :, 0] = columns[1, :, 1] = 1
    columns[..., 2] = -rays.T
    right = rays.T * offsets[:, 2] - offsets[:, :2].T
    trust = weights
    root: Array = np.zeros(3)
    for _ in range(4):
        w = np.tile(trust, (2, 1))[..., None]
        solved = np.linalg.lstsq((columns * w).reshape(-1, 3), (right[..., None] * w).reshape(-1), rcond=None)
        root = np.asarray(solved[0])
        away = np.linalg.norm(columns @ root - right, axis=0)  # metres at the body's depth
        trust = weights / (1 + np.square(away / 0.1))
    return root


class _Adam:
    """Adam (Kingma and Ba 2015) with beta 0.9 and 0.98. torch's own takes seconds to import its compiler first."""

    def __init__(self, variables: list[Tensor], rates: list[float]) -> None:
        self.variables, self.rates, self.steps = variables, rates, 0
        self.mean = [torch.zeros_like(v) for v in variables]
        self.square = [torch.zeros_like(v) for v in variables]

    @torch.no_grad()
    def step(self, gradients: tuple[Tensor, ...], factor: float) -> None:
        self.steps += 1
        first, second = 1 - 0.9**self.steps, 1 - 0.98**self.steps
        for variable, rate, mean, square, gradient in zip(
            self.variables, self.rates, self.mean, self.square, gradients, strict=True
        ):
            mean.lerp_(gradient, 0.1)
            square.mul_(0.98).addcmul_(gradient, gradient, value=0.02)
            variable.addcdiv_(mean, (square / second).sqrt_().add_(1e-8), value=-rate * factor / first)


def _weights(scores: Floats, seen: NDArray[np.bool_], config: FitConfig) -> Floats:
    kind = np.zeros(133, np.float32)
    kind[BODY] = config.body_weight
    kind[[0, 1, 2]] = config.head_weight
    kind[[3, 4]] = 0.5 * config.head_weight
    kind[[11, 12]] = config.hip_weight
    kind[FEET] = config.feet_weight
    kind[FACE] = config.face_weight
    kind[FACE.start : FACE.start + 17] = config.contour_weight
    kind[LEFT_HAND] = kind[RIGHT_HAND] = config.hand_weight
    weights = np.where(seen, np.square(np.minimum(scores, 1)) * kind, 0)
    weights[:, [13, 14]] *= np.where(seen[:, [15, 16]], 1, config.cut_leg_weight)
    return weights.astype(np.float32)
