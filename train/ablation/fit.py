"""One run: a variant and a seed, from the base's weights to its own, killed at any step and going on."""

from __future__ import annotations

import json
import logging
import pickle
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from model.config import VividPoseConfig, load_config
from model.encoders import TINY, Encoders, load_encoders
from model.folder import create, load_model, save_model
from model.patch_autoencoder import PatchAutoencoder
from model.vae import Vae
from pipelines.engine.atomic import whole_file, write_whole
from pipelines.settings import BadSettings
from train.ablation.clips import ClipSet, training_batch
from train.ablation.settings import AblationSettings
from train.ablation.variants import BASE, VARIANTS, without
from train.checkpoint import BadCheckpoint
from train.encoders import BatchEncoders
from train.engine import ClippedAdamW
from train.guards import SkippedSteps
from train.module import TrainingModule
from train.schedule import learning_rate

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunName:
    """variant: one of VARIANTS or BASE."""

    variant: str
    seed: int

    def __str__(self) -> str:
        return f"{self.variant}-s{self.seed}"

    def folder(self, out: Path) -> Path:
        return out / "runs" / str(self)

    @classmethod
    def parse(cls, text: str) -> RunName:
        """Raises `BadSettings`."""
        variant, found, seed = text.rpartition("-s")
        if variant not in (*VARIANTS, BASE) or not found or not seed.isdecimal():
            raise BadSettings(f"expected a run such as full-s0, of {', '.join((*VARIANTS, BASE))}, not {text!r}")
        return cls(variant, int(seed))


def all_runs(seeds: int) -> tuple[list[RunName], list[RunName]]:
    """The bases, and the variants that start from them; seed by seed, so that a whole seed is there early."""
    bases = [RunName(BASE, seed) for seed in range(seeds)]
    return bases, [RunName(variant, seed) for seed in range(seeds) for variant in VARIANTS]


def open_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def open_encoders(config: VividPoseConfig, device: torch.device) -> BatchEncoders:
    """The patch transform in the place of SVD's VAE, and the shipped image encoder with random weights."""
    autoencoder = PatchAutoencoder(config.vae.scale_factor, config.vae.latent_channels, config.vae.scaling_factor)
    encoders = Encoders(Vae(cast(Any, autoencoder)), load_encoders(TINY).image)
    return BatchEncoders(encoders.to(device), at_once=1024)


def fast_attention(device: torch.device) -> Any:
    """CPUs: torch's fused kernel takes half of a step where sequences are as short as here."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else ExitStack()


def fit(run: RunName, out: Path, settings: AblationSettings, clips: ClipSet) -> None:
    """Train, and write `model/` and `losses.npy` into the run's folder. Equal seeds have equal first weights, data
    order and noise, whatever the variant. Raises `TrainingFailed` where losses are not finite."""
    folder = run.folder(out)
    device = open_device()
    fitting = Fitting(run, out, settings, device)
    done = fitting.resume(folder / "checkpoint.pt")
    with fast_attention(device):
        for step in range(done, fitting.steps):
            fitting.step(step, clips)
            if (step + 1) % 50 == 0:
                log.info("%s: step %d of %d, loss %.4f", run, step + 1, fitting.steps, np.mean(fitting.losses[-50:]))
            if (step + 1) % settings.checkpoint == 0 and step + 1 < fitting.steps:
                fitting.save(folder / "checkpoint.pt", step + 1)
    with whole_file(folder / "losses.npy") as temporary, temporary.open("wb") as stream:
        np.save(stream, np.array(fitting.losses, np.float32))
    save_model(fitting.model, folder / "model", notes={"ablation": str(run)}, overwrite=True)
    write_whole(folder / "fitted.json", json.dumps({"steps": fitting.steps}).encode())
    (folder / "checkpoint.pt").unlink(missing_ok=True)


class Fitting:
    """The model, its optimiser and the losses so far."""

    def __init__(self, run: RunName, out: Path, settings: AblationSettings, device: torch.device) -> None:
        self.run, self.settings, self.device = run, settings, device
        config = load_config(settings.model)
        base = RunName(BASE, run.seed).folder(out) / "model"
        alone = run.variant == BASE
        self.model = (create(config, run.seed) if alone or not settings.base_steps else load_model(base)).to(device)
        self.model.train()
        diffusion = replace(settings.diffusion, drop_pose=1.0, drop_face=1.0) if alone else settings.diffusion
        encoders = open_encoders(config, device)
        self.module = TrainingModule(self.model, encoders, diffusion, run.seed, autocast=settings.autocast)
        self.first, self.steps = (0, settings.base_steps) if alone else (settings.base_steps, settings.steps)
        rates = settings.optimiser
        identity = {id(parameter) for parameter in self.model.identity.parameters()}
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        groups = [
            {"params": [p for p in trained if id(p) not in identity], "rate": 1.0},
            {"params": [p for p in trained if id(p) in identity], "rate": settings.identity_rate},
        ]
        self.optimiser = ClippedAdamW(
            groups, rates.clip, lr=rates.learning_rate, betas=rates.betas, eps=rates.epsilon,
            weight_decay=rates.weight_decay, fused=True,
        )  # fmt: skip
        self.skipped = SkippedSteps(limit=5)
        self.losses: list[float] = []

    def step(self, step: int, clips: ClipSet) -> None:
        """One optimiser step on the batch that belongs to it."""
        batch = without(training_batch(clips, self.run.seed, self.first + step, self.settings.batch), self.run.variant)
        for group in self.optimiser.param_groups:
            group["lr"] = group["rate"] * learning_rate(self.settings.optimiser, step, self.steps)
        loss = self.module(batch)
        loss.backward()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.skipped.count(self.first + step, self.optimiser.overflow, batch.keys)
        self.losses.append(float(loss.detach()))

    def save(self, path: Path, done: int) -> None:
        state = {
            "done": done, "losses": self.losses, "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }  # fmt: skip
        with whole_file(path) as temporary:
            torch.save(state, temporary)

    def resume(self, path: Path) -> int:
        """Take up a checkpoint where there is one; returns the steps that are done."""
        if not path.is_file():
            return 0
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
        except (RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as error:
            raise BadCheckpoint(
                f"{path} is no checkpoint of {self.run} ({error}): remove it to begin that run anew"
            ) from error
        self.losses = list(state["losses"])
        log.info("%s: going on after step %d", self.run, state["done"])
        return int(state["done"])
