"""The one module that is trained: a batch in, the loss of each sample out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from model import edm
from model.conditions import ClipInputs, Given
from model.vividpose import VividPose
from train.draws import Draws, draw
from train.encoders import BatchEncoders
from train.guards import poisoned
from train.settings import DiffusionSettings
from train.stream.batch import TrainBatch


@dataclass(frozen=True)
class Seen:
    """What the last forward pass saw, for the log. losses, sigmas: fp32 (B,). cached: whether latents came with the
    batch."""

    losses: Tensor
    sigmas: Tensor
    cached: bool


class TrainingModule(nn.Module):
    """Draws, encodes, denoises and compares. DeepSpeed wraps it; `forward` gives the mean loss of the batch.

    autocast: run the networks in bf16 while their weights stay fp32 (ZeRO 0). The encoders are not part of the module:
    no engine shards, casts or saves them.
    """

    def __init__(
        self, model: VividPose, encoders: BatchEncoders, settings: DiffusionSettings, seed: int, autocast: bool = False
    ) -> None:
        super().__init__()
        self.model = model
        self.hidden = (encoders,)
        self.settings = settings
        self.seed = seed
        self.autocast = autocast
        self.seen: Seen | None = None

    @property
    def encoders(self) -> BatchEncoders:
        return self.hidden[0]

    def forward(self, batch: TrainBatch, everything: bool = False) -> Tensor:
        """The mean loss, fp32, a scalar. batch: on the host; what chance decides is drawn there while the device still
        works on the pass before. everything: act as if every sample had every condition; for the first look at the
        network, never for training."""
        vae = self.encoders.vae
        frames, height, width = batch.skeleton.shape[1], *batch.skeleton.shape[-2:]
        latent = (frames, vae.channels, height // vae.factor, width // vae.factor)
        draws = draw(self.settings, self.seed, batch.index.tolist(), latent, (3, height, width))
        if everything:
            yes = torch.ones(len(batch), dtype=torch.bool)
            batch = replace(batch, face_valid=yes)
            draws = replace(draws, kept=Given(yes, yes, yes, yes, yes))
        given = replace(draws.kept, face=draws.kept.face & batch.face_valid)
        device = next(self.model.parameters()).device
        batch, drawn = batch.to(device, non_blocking=True), draws.on(device)
        x0 = self.encoders.latents(batch, drawn.posterior)
        inputs = self._inputs(batch, drawn, given)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.autocast):
            scaled = edm.scaled(edm.noised(x0, drawn.noise, drawn.sigma), drawn.sigma)
            F = self.model(scaled, edm.c_noise(drawn.sigma), self.model.conditions(inputs, check=False))
        losses = edm.loss(F, x0, drawn.noise, drawn.sigma, self._weight_map(batch, latent))
        self.seen = Seen(losses.detach(), draws.sigma, batch.latents is not None)
        return poisoned(losses.mean())

    def _inputs(self, batch: TrainBatch, drawn: Draws, given: Given) -> ClipInputs:
        bucket = torch.full_like(drawn.noise_aug, self.settings.motion_bucket)
        image_latent = self.encoders.image_latent(batch.reference, drawn.image_noise, drawn.noise_aug)
        return ClipInputs(
            reference_latent=self.encoders.reference_latent(batch),
            image_latent=image_latent,
            clip_embedding=self.encoders.clip_embedding(batch),
            face_embedding=batch.face_embedding,
            skeleton=batch.skeleton.float() / 255,
            rendering=batch.rendering.float() / 255,
            fps=batch.fps.float(),
            motion_bucket=bucket,
            noise_aug=drawn.noise_aug,
            given=given,
        )

    def _weight_map(self, batch: TrainBatch, latent: tuple[int, ...]) -> Tensor | None:
        """(B, T, 1, h, w): the weights of face and hands inside their boxes, 1 elsewhere; None when all is 1."""
        face, hand = self.settings.face_weight, self.settings.hand_weight
        if face == 1 and hand == 1:
            return None
        size = latent[-2:]
        shrink = size[0] / batch.skeleton.shape[-2]
        weights = torch.ones(len(batch), latent[0], *size, device=batch.skeleton.device)
        boxes = [(batch.face_box, face), (batch.hand_boxes[:, :, 0], hand), (batch.hand_boxes[:, :, 1], hand)]
        for box, weight in boxes:
            weights = torch.where(inside(box * shrink, size), weights.clamp(min=weight), weights)
        return weights.unsqueeze(2)


def inside(boxes: Tensor, size: tuple[int, ...]) -> Tensor:
    """Which cells of a grid of `size` (h, w) overlap boxes (B, T, 4), x0 y0 x1 y1 in cells; bool (B, T, h, w). An empty
    box (all zero) overlaps none."""
    y, x = (torch.arange(n, device=boxes.device) for n in size)
    x0, y0, x1, y1 = (edge[..., None] for edge in boxes.unbind(-1))
    across, down = (x + 1 > x0) & (x < x1), (y + 1 > y0) & (y < y1)
    return down[..., :, None] & across[..., None, :]
