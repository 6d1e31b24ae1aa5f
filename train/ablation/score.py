"""What a run is worth on the test films: the paired denoising error by region, and samples."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model import edm
from model.animator import denoiser
from model.conditions import ClipInputs, Conditions, Given
from model.folder import load_model
from model.guidance import Guidance
from model.sampler import sample
from model.vae import to_uint8
from model.vividpose import VividPose
from model.windows import Windows
from pipelines.engine.atomic import whole_file
from train.ablation.clips import REGIONS, ClipSet
from train.ablation.fit import RunName, fast_attention, open_device, open_encoders
from train.ablation.settings import AblationSettings
from train.ablation.variants import BASE, FULL, without
from train.encoders import BatchEncoders, signed
from train.stream.batch import TrainBatch
from train.stream.rng import sample_generator

AT_ONCE = 16
SCORES = "scores.npz"
NOISE_AUG = 0.02
NOISE_SEED = 20_000
"""Of the test's noise, which is the same for every variant and every seed of training."""


@dataclass(frozen=True)
class Scores:
    """errors: float64 (sigmas, windows, regions), mean squared error of the pixels in 0..1, the regions REGIONS and
    then the whole picture; NaN where a window does not show a region. sampled: (windows, regions), of the samples.
    mistaken: as errors, of the full variant when it is given a stranger's identity code; None for the others."""

    errors: NDArray[np.float64]
    sampled: NDArray[np.float64]
    mistaken: NDArray[np.float64] | None = None


def score(run: RunName, out: Path, settings: AblationSettings, clips: ClipSet) -> None:
    """Write `scores.npz` and `samples/FILM-WINDOW.npy`, uint8 (T, H, W, 3), into the run's folder."""
    folder, device = run.folder(out), open_device()
    model = load_model(folder / "model").to(device)
    encoders = open_encoders(model.config, device)
    denoised, mistaken, sampled, pictures = [], [], [], []
    strangers = strangers_of(clips.people) if run.variant == FULL else None
    for start in range(0, len(clips), AT_ONCE):
        numbers = list(range(start, min(start + AT_ONCE, len(clips))))
        batch = without(clips.take(numbers), run.variant).to(device)
        assert clips.regions is not None, "test clips come with their regions"
        regions = clips.regions[numbers].to(device)
        with torch.no_grad(), fast_attention(device):
            inputs = _inputs(batch, encoders, settings, run.variant)
            with _precision(device, settings):
                conditions = model.conditions(inputs)
            denoised.append(_errors(model, encoders, batch, conditions, regions, numbers, settings))
            frames = _samples(model, encoders, conditions, numbers, settings)
            if strangers is not None:
                other = clips.take([strangers[number] for number in numbers]).to(device)
                taken = replace(batch, face_embedding=other.face_embedding, face_valid=other.face_valid)
                inputs = _inputs(taken, encoders, settings, run.variant)
                with _precision(device, settings):
                    conditions = model.conditions(inputs)
                mistaken.append(_errors(model, encoders, batch, conditions, regions, numbers, settings))
        pictures.append(to_uint8(frames).cpu().numpy())
        assert batch.frames is not None, "the ablation decodes frames"
        error = (frames.clamp(-1, 1) - signed(batch.frames)).square().mean(2) / 4
        sampled.append(by_region(error, regions).cpu().double().numpy())
    with whole_file(folder / SCORES) as temporary, temporary.open("wb") as stream:
        arrays: dict[str, Any] = {"errors": np.concatenate(denoised, axis=1), "sampled": np.concatenate(sampled)}
        if mistaken:
            arrays["mistaken"] = np.concatenate(mistaken, axis=1)
        np.savez(stream, **arrays)
    for number, frames in enumerate(np.concatenate(pictures)):
        save_frames(folder / "samples" / f"{window_name(clips, number)}.npy", frames)


def window_name(clips: ClipSet, number: int) -> str:
    """The film, and which of its windows: film-0, film-1."""
    return f"{clips.films[number]}-{clips.films[:number].count(clips.films[number])}"


def save_frames(path: Path, frames: NDArray[np.uint8]) -> None:
    with whole_file(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, frames)


def read_scores(run: RunName, out: Path) -> Scores:
    with np.load(run.folder(out) / SCORES, allow_pickle=False) as file:
        return Scores(file["errors"], file["sampled"], file.get("mistaken"))


def strangers_of(people: Sequence[str]) -> list[int] | None:
    """For each window one of another person, who is half of the people away; None where there is only one person."""
    names = sorted(set(people))
    if len(names) < 2:
        return None
    partner = {name: names[(place + len(names) // 2) % len(names)] for place, name in enumerate(names)}
    first = {name: people.index(name) for name in names}
    return [first[partner[person]] for person in people]


def _inputs(batch: TrainBatch, encoders: BatchEncoders, settings: AblationSettings, variant: str) -> ClipInputs:
    """As `TrainingModule` makes them, with the noise on the condition image that animation uses."""
    count, device = len(batch), batch.reference.device
    yes = torch.ones(count, dtype=torch.bool)
    noise_aug = torch.full((count,), NOISE_AUG, device=device)
    noise = torch.stack([_noise(int(i), "image_noise", tuple(batch.reference.shape[1:])) for i in batch.index])
    return ClipInputs(
        reference_latent=encoders.reference_latent(batch),
        image_latent=encoders.image_latent(batch.reference, noise.to(device), noise_aug),
        clip_embedding=encoders.clip_embedding(batch),
        face_embedding=batch.face_embedding,
        skeleton=batch.skeleton.float() / 255,
        rendering=batch.rendering.float() / 255,
        fps=batch.fps.float(),
        motion_bucket=torch.full((count,), float(settings.diffusion.motion_bucket), device=device),
        noise_aug=noise_aug,
        given=Given(yes, yes, yes, batch.face_valid.cpu(), yes if variant != BASE else ~yes),
    )


def _precision(device: torch.device, settings: AblationSettings) -> torch.autocast:
    """Around the networks, never around the patch transform."""
    return torch.autocast(device.type, torch.bfloat16, enabled=settings.autocast)


def _noise(index: int, purpose: str, shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=sample_generator(NOISE_SEED, index, purpose))


def _errors(
    model: VividPose, encoders: BatchEncoders, batch: TrainBatch, conditions: Conditions, regions: Tensor,
    numbers: list[int], settings: AblationSettings,
) -> NDArray[np.float64]:  # fmt: skip
    """(sigmas, B, regions)."""
    assert batch.frames is not None, "the ablation decodes frames"
    vae, device = encoders.vae, batch.frames.device
    truth = signed(batch.frames)
    x0 = vae.scaled(vae.encode(truth.flatten(0, 1), len(truth) * truth.shape[1]).mode()).unflatten(0, truth.shape[:2])
    result = []
    for number, sigma in enumerate(settings.sigmas):
        noise = torch.stack([_noise(n, f"noise {number}", tuple(x0.shape[1:])) for n in numbers]).to(device)
        x = edm.noised(x0, noise, sigma)
        with _precision(device, settings):
            F = model(edm.scaled(x, sigma), edm.c_noise(sigma).to(device).expand(len(x)), conditions)
        found = vae.decode(edm.denoised(F, x, sigma).flatten(0, 1)).unflatten(0, x.shape[:2])
        result.append(by_region((found - truth).square().mean(2) / 4, regions))
    return torch.stack(result).cpu().double().numpy()


def by_region(errors: Tensor, regions: Tensor) -> Tensor:
    """The mean of (B, T, H, W) over each of REGIONS and over all: (B, regions + 1), NaN where there is nothing."""
    columns = []
    for value in REGIONS.values():
        inside = regions == value
        count = inside.sum((1, 2, 3))
        columns.append(torch.where(inside, errors, 0).sum((1, 2, 3)) / torch.where(count > 0, count, torch.nan))
    return torch.stack([*columns, errors.mean((1, 2, 3))], dim=1)


def _samples(
    model: VividPose, encoders: BatchEncoders, conditions: Conditions, numbers: list[int], settings: AblationSettings
) -> Tensor:
    """(B, T, 3, H, W), -1..1, by Euler steps from noise, without guidance."""
    vae, device = encoders.vae, conditions.context.device
    side, frames = settings.clips.size // vae.factor, settings.clips.frames
    shape = (vae.channels, side, side)

    def noise(frame: int) -> Tensor:
        return torch.stack([_noise(number, f"sample, frame {frame}", shape) for number in numbers]).to(device)

    ask = denoiser(model, conditions, None, Guidance(1.0, 1.0), batched=False)
    with _precision(device, settings):
        latents = [x for _, x in sample(ask, noise, Windows(frames, frames, 0), (*settings.sampling, 0.0))]
    return vae.decode(torch.stack(latents, dim=1).flatten(0, 1)).unflatten(0, (len(numbers), frames))


def told(scores: Scores, settings: AblationSettings) -> str:
    """The whole-picture denoising PSNR at each level, for the log."""
    psnr = -10 * np.log10(np.nanmean(scores.errors[:, :, -1], axis=1))
    return json.dumps({f"sigma {sigma:g}": round(float(value), 2) for sigma, value in zip(settings.sigmas, psnr)})
