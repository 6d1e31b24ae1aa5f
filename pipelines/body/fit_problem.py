"""The optimisation behind the fit: its variables, its start, its objective and its optimiser.

All frames of a clip are optimised together, however long it is: one shape, and no joins. The objective is a sum over
frames but for accelerations, which reach two frames on; so it and its gradient are summed over pieces of the clip, and
what an evaluation needs (50 kB a frame) does not grow with it. What is left to grow is what is known of each pose: key
points, variables and the optimiser's two means of them, 10 kB a frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

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

# The longest clip that `vividpose shards` cuts at its default settings, 20 s of 60 frames, is one piece.
PIECE = 1200
# How many frames on an acceleration looks.
REACH = 2


@dataclass(frozen=True)
class Piece:
    """rows: consecutive frames. own: the first so many of them belong to the piece; the rest only to accelerations."""

    rows: slice
    own: int

    @property
    def own_rows(self) -> slice:
        return slice(self.rows.start, self.rows.start + self.own)


def pieces_of(frames: int) -> list[Piece]:
    """As few pieces of about equal size as there can be; each frame is one's own."""
    count = max(1, math.ceil(frames / PIECE))
    ends = [frames * k // count for k in range(count + 1)]
    return [Piece(slice(start, min(end + REACH, frames)), end - start) for start, end in pairwise(ends)]


@dataclass(frozen=True)
class Variables:
    """What is optimised. betas: (10,). Of T frames: expression (T, 10), turn (T, 3), the root's rotation after its
    start, pose (T, 55, 3), and where the pelvis lies: ray (T, 2) and log_depth (T, 1)."""

    betas: Tensor
    expression: Tensor
    turn: Tensor
    pose: Tensor
    ray: Tensor
    log_depth: Tensor

    def all(self) -> list[Tensor]:
        return [self.betas, self.expression, self.turn, self.pose, self.ray, self.log_depth]

    def leaves(self, rows: slice) -> Variables:
        """The same values in some frames, to be differentiated by."""
        parts = [self.betas, *(values[rows] for values in self.all()[1:])]
        return Variables(*(part.detach().requires_grad_(True) for part in parts))

    @property
    def root(self) -> Tensor:
        """(T, 3), where the pelvis lies."""
        return torch.cat([self.ray, torch.ones_like(self.log_depth)], -1) * torch.exp(self.log_depth)


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
        self.pieces = pieces_of(frames)
        world = np.full((frames, 33, 3), np.nan)
        if keypoints.world is not None:
            world = visible_world(keypoints.world, seen & valid[:, None])
        has_world = bool(np.isfinite(world).any())

        self.directions = Directions.of(world) if has_world and initial is None else None
        betas = torch.zeros(10) if self.directions is None else self.directions.sized_shape(kinematics)
        expression = torch.zeros(frames, 10)
        rest = self._rest_points(betas)
        self.stiffness = torch.as_tensor(STIFFNESS)
        if initial is None:
            if not has_world:
                for rows in (piece.own_rows for piece in self.pieces):
                    world[rows] = lifted_world(keypoints.points[rows], seen[rows] & valid[rows, None], rest)
            start = initial_pose(world, rest)
            hands = kinematics.hands_mean.reshape(30, 3).expand(frames, -1, -1)
            self.base = torch.as_tensor(start.root, dtype=torch.float32)
            pose = torch.as_tensor(start.pose, dtype=torch.float32)
            pose[:, 25:] = hands
            natural = torch.as_tensor(NATURAL_POSE).expand(frames, -1, -1).clone()
            natural[:, 25:] = hands
        else:
            betas = torch.tensor(initial.betas)  # copies: the optimiser works in place
            expression = torch.tensor(initial.expression)
            self.base = torch.as_tensor(Rotation.from_rotvec(initial.global_orient).as_matrix(), dtype=torch.float32)
            pose = torch.as_tensor(full_pose(kinematics, initial))
            pose[:, 0] = 0
            natural = pose.clone()
            self.stiffness = torch.clamp_min(self.stiffness, 1 / config.refine_sigma**2)
        self.natural = natural
        self.initial = initial
        self.likely_betas = torch.zeros(10) if initial is None else betas.clone()

        points = torch.as_tensor(np.where(seen[..., None], keypoints.points, 0), dtype=torch.float32)
        weights = torch.as_tensor(_weights(keypoints.scores, seen, config))
        center = torch.tensor(camera.principal)
        nowhere = torch.zeros(frames, 3)
        start_at = Variables(betas, expression, nowhere, pose, nowhere[:, :2], nowhere[:, :1])
        root = self._initial_root(start_at, points, weights, center)
        # A ray and the logarithm of the depth: moving along the ray keeps the projection.
        self.variables = replace(start_at, ray=root[:, :2] / root[:, 2:], log_depth=torch.log(root[:, 2:]))
        unit = 0.017 * camera.focal / root[:, 2:]
        self.projection = Projection(points, weights, unit, center, camera.focal)
        # With no foot in the picture only habit tells the pelvis' lean: legs stand, the spine bends.
        self.legless = torch.as_tensor(~seen[:, [15, 16]].any(1), dtype=torch.float32)

    def posed(self, at: Variables, rows: slice, root: Tensor) -> Posed:
        """The body in the frames `rows`, which `at` holds the values of."""
        rotations = matrix_from_axis_angle(at.pose)
        orient = self.base[rows] @ matrix_from_axis_angle(at.turn)
        rotations = torch.cat([orient[:, None], rotations[:, 1:]], 1)
        return self.kinematics.pose(at.betas, rotations, root, at.expression)

    def objective(self, at: Variables, piece: Piece, robust: float) -> Tensor:
        """A piece's share of the objective, which is the sum of all shares. at: the variables in the piece's rows."""
        config, rows, own = self.config, piece.own_rows, piece.own
        posed = self.posed(at, piece.rows, at.root)
        share, reached = own / len(self.valid), len(at.pose) / len(self.valid)
        mine, pose, expression = posed, at.pose, at.expression
        if own < len(at.pose):
            mine, pose, expression = Posed(posed.points[:own], posed.rotations[:own]), pose[:own], expression[:own]
        legless = self.legless[rows]
        terms = [
            share * self.projection.part(rows)(mine, robust),
            share * beyond_limits(pose),
            share * config.pose_weight * unnatural(pose, self.natural[rows], self.stiffness),
            share * config.shape_weight * torch.square(at.betas - self.likely_betas).sum(),
            share * config.expression_weight * torch.square(expression).sum() / len(expression),
            reached * acceleration(posed.joints[:, :25, :2]) / config.smooth_joints**2 / 25,
            reached * acceleration(posed.joints[:, :25, 2]) / config.smooth_depth**2 / 25,
            reached * acceleration(at.pose) / config.smooth_angles**2 / 25,
            reached * acceleration(at.expression) / 0.3**2 / 10,
            share * config.upright_weight * (legless * (1 + mine.rotations[:, 0, 1, 1])).sum() / len(legless),
        ]
        if self.directions is not None:
            terms.append(share * self.directions.part(rows)(mine, config.direction_sigma))
            if self.directions.sized:
                error = self.directions.size_error(self.kinematics, at.betas) / config.size_sigma
                terms.append(share * torch.square(error))
        return torch.stack(terms).sum()

    def slope(self, robust: float) -> tuple[float, list[Tensor]]:
        """The objective, and its gradient by each of the variables."""
        loss = 0.0
        sums: list[Tensor] = []
        for piece in self.pieces:
            at = self.variables.leaves(piece.rows)
            value = self.objective(at, piece, robust)
            gradients = torch.autograd.grad(value, at.all())
            loss += float(value.detach())
            if len(self.pieces) == 1:
                return loss, list(gradients)
            sums = sums or [torch.zeros_like(variable) for variable in self.variables.all()]
            sums[0] += gradients[0]
            for total, gradient in zip(sums[1:], gradients[1:], strict=True):
                total[piece.rows] += gradient
        return loss, sums

    def solve(self) -> float:
        """Adam with a cosine schedule; the robust scale narrows from four times to once."""
        steps, rate = self.config.iterations, self.config.learning_rate
        optimizer = _Adam(self.variables.all(), [rate * factor for factor in (5, 2, 1, 1, 0.2, 0.5)])
        loss = 0.0
        for step in range(steps):
            robust = self.config.robust_scale * (1 + 3 * max(0.0, 1 - 2 * step / steps))
            loss, gradients = self.slope(robust)
            optimizer.step(gradients, 0.5 * (1 + math.cos(math.pi * step / steps)) + 0.02)
        return loss

    @torch.no_grad()
    def wholebody(self) -> Iterator[tuple[slice, Floats]]:
        """Where the 133 points lie, (n, 133, 3) metres, in some frames after the other."""
        for rows in (piece.own_rows for piece in self.pieces):
            at = self.variables.leaves(rows)
            yield rows, self.posed(at, rows, at.root).wholebody.numpy()

    @torch.no_grad()
    def result(self, body_hash: str) -> BodySequence:
        found = self.variables
        rest = self.kinematics.rest_joints(found.betas, found.expression)
        orient = Rotation.from_matrix((self.base @ matrix_from_axis_angle(found.turn)).numpy()).as_rotvec()
        pose = found.pose.numpy()
        return BodySequence(
            betas=found.betas.numpy().copy(),
            expression=found.expression.numpy().copy(),
            global_orient=orient.astype(np.float32),
            body_pose=pose[:, 1:22].copy(),
            left_hand_pose=pose[:, 25:40].copy(),
            right_hand_pose=pose[:, 40:55].copy(),
            jaw_pose=pose[:, 22].copy(),
            transl=(found.root - rest[:, 0]).numpy(),
            camera=self.camera,
            flat_hand_mean=True,
            body_hash=body_hash,
            valid=self.valid,
        )

    def _rest_points(self, betas: Tensor) -> Array:
        identity = torch.eye(3).expand(1, JOINTS, 3, 3)
        return self.kinematics.pose(betas, identity, torch.zeros(1, 3)).points[0].double().numpy()

    def _initial_root(self, at: Variables, points: Tensor, weights: Tensor, center: Tensor) -> Tensor:
        """Where the pelvis must be for the posed points to project onto the key points: robust linear least squares."""
        frames = len(points)
        if self.initial is not None:
            rest = self.kinematics.rest_joints(at.betas, at.expression)[:, 0]
            return rest + torch.as_tensor(self.initial.transl)
        offsets = np.empty((frames, BODY.stop - BODY.start, 3))
        with torch.no_grad():
            for rows in (piece.own_rows for piece in self.pieces):
                part = at.leaves(rows)
                posed = self.posed(part, rows, torch.zeros(len(part.pose), 3))
                offsets[rows] = posed.wholebody[:, BODY].double().numpy()
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
    def step(self, gradients: list[Tensor], factor: float) -> None:
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
