"""Fit the small VAE of the `tiny` configuration: SVD's class, a few hundred thousand parameters, minutes on one core.

    OMP_NUM_THREADS=1 python -m train.fit_vae --out model/tiny/vae

It sees the project's own rendered demo videos (casts 1, 2, ...; cast 0 is held out) and "dead leaves", random shapes
that hide each other, whose statistics are near those of photographs. No film of anybody is used.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from diffusers.models import AutoencoderKLTemporalDecoder
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipelines.demo import make_demo_videos
from pipelines.video.reader import ClipReader

log = logging.getLogger(__name__)

LATENTS = 4
CONFIG = {
    "block_out_channels": (64, 32, 64),
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "layers_per_block": 1,
    "latent_channels": LATENTS,
    "sample_size": 96,
    "force_upcast": False,
}
"""Outside, 64 and not 32: the class's group norms have 32 groups, and with one channel a group the last ones before the
latents and before the picture would remove the picture's brightness and colour cast."""

CONTRAST = 2.0
CROP, FRAMES, CLIPS = 32, 2, 4
SHORT_SIDES = (64, 80, 112)
KL_WEIGHT = 3e-4
COLOUR_GAIN = 2.0
"""The first three latents are told to be the mean colour (-1..1) of their 4x4 pixels times this; the fourth is free.
Left alone all four are spent on edges, and in so short a fit colours merge."""

Clip = NDArray[np.uint8]


def films(folder: Path, casts: range) -> list[Clip]:
    """The demo videos of these casts at every size of `SHORT_SIDES`: uint8 (T, H, W, 3)."""
    clips = []
    for cast in casts:
        for path in make_demo_videos(folder / f"cast{cast}", seed=cast):
            with ClipReader(path) as reader:
                frames = np.concatenate([_halved(chunk) for chunk in reader.chunks(16)])
            for short in SHORT_SIDES:
                clips.append(shrunk(frames, short))
    return clips


def _halved(frames: Clip) -> Clip:
    return shrunk(frames, min(frames.shape[1:3]) // 2)


def shrunk(frames: Clip, short: int) -> Clip:
    """Frames with the short side `short` pixels long, every pixel the mean of what it covers."""
    scale = short / min(frames.shape[1:3])
    size = (round(frames.shape[2] * scale), round(frames.shape[1] * scale))
    return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames])


def dead_leaves(rng: np.random.Generator, size: int, frames: int, shapes: int = 90) -> Clip:
    """A clip of moving discs, boxes and strokes that hide each other, sizes by a power law: (T, size, size, 3)."""
    base = rng.uniform(0, 255, 3)
    clip = np.empty((frames, size, size, 3), np.uint8)
    clip[:] = base
    radii = 2.0 / np.sqrt(rng.uniform(2.0**2 / (0.7 * size) ** 2, 1, shapes))
    for radius in np.sort(radii)[::-1]:
        # Half of the colours are near the base, so that pictures with a cast, bright and dark ones come too.
        near = base + rng.normal(0, 40, 3)
        colour = np.clip(near if rng.random() < 0.5 else rng.uniform(0, 255, 3), 0, 255).tolist()
        place, speed = rng.uniform(0, size, 2), rng.normal(0, 1.0, 2)
        kind, angle, stretch = rng.integers(3), rng.uniform(0, 180), rng.uniform(0.3, 1)
        for frame, picture in enumerate(clip):
            x, y = place + frame * speed
            if kind == 0:
                box = ((x, y), (2 * radius, 2 * radius * stretch), angle)
                cv2.ellipse(picture, box, colour, -1, cv2.LINE_AA)
            elif kind == 1:
                corners = cv2.boxPoints(((x, y), (2 * radius, 2 * radius * stretch), angle))
                cv2.fillPoly(picture, [np.rint(corners * 16).astype(np.int32)], colour, cv2.LINE_AA, 4)
            else:
                turn = np.deg2rad(angle)
                ends = np.array([[x, y], [x + 3 * radius * np.cos(turn), y + 3 * radius * np.sin(turn)]])
                first, second = np.rint(ends).astype(int).tolist()
                cv2.line(picture, first, second, colour, int(rng.integers(1, 4)), cv2.LINE_AA)
    return clip


def batches(clips: list[Clip], rng: np.random.Generator) -> Iterator[Tensor]:
    """Without end: (CLIPS * FRAMES, 3, CROP, CROP), -1..1; half demo frames, half dead leaves."""
    while True:
        chosen = []
        for place in range(CLIPS):
            if place % 2:
                chosen.append(dead_leaves(rng, CROP, FRAMES))
                continue
            clip = clips[rng.integers(len(clips))]
            start = rng.integers(len(clip) - FRAMES + 1)
            top, left = (int(rng.integers(side - CROP + 1)) for side in clip.shape[1:3])
            cut = clip[start : start + FRAMES, top : top + CROP, left : left + CROP]
            chosen.append(cut[:, :, ::-1] if rng.random() < 0.5 else cut)
        yield pixels(np.concatenate(chosen))


def pixels(frames: Clip) -> Tensor:
    """uint8 (N, H, W, 3) to float (N, 3, H, W), -1..1."""
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2) / 127.5 - 1


@torch.no_grad()
def start_nearly_linear(vae: AutoencoderKLTemporalDecoder) -> None:
    """Sets the initial weights so that a thousand steps are enough.

    The residual branches start at zero and the convolutions between levels near the identity. The two channels of a
    group start with opposite constants, larger than any signal: the group's norm then scales by a near-constant, and
    keeps the difference of the two channels' means. The noise of the posterior starts low.
    """
    module: Any
    for name, module in vae.named_modules():
        if name.endswith(("resnets.0.conv2", "res_block.conv2")):
            module.weight.zero_()
            module.bias.zero_()
        if name.endswith((".conv_in", ".conv_shortcut", "encoder.conv_out")):
            torch.nn.init.orthogonal_(module.weight, 1 if name.endswith(".conv_shortcut") else 3)
        if name.endswith((".conv_in", ".conv_shortcut")):
            module.bias[0::2] += CONTRAST
            module.bias[1::2] -= CONTRAST
        if name.endswith("samplers.0.conv"):
            module.weight *= 0.5
            torch.diagonal(module.weight[:, :, 1, 1]).add_(1)
    quant_conv: Any = vae.quant_conv
    quant_conv.weight[LATENTS:] = 0
    quant_conv.bias[LATENTS:] = -6


def fit(clips: list[Clip], steps: int, seed: int, start: Path | None = None) -> AutoencoderKLTemporalDecoder:
    """L1 of samples of the posterior, L1 of the colour latents, and a little KL; then the scaling for latents of unit
    deviation. start: a folder with a VAE to go on from."""
    torch.manual_seed(seed)
    draws = torch.Generator().manual_seed(seed)
    if start is None:
        vae = AutoencoderKLTemporalDecoder(**CONFIG)
        start_nearly_linear(vae)
    else:
        vae = AutoencoderKLTemporalDecoder.from_pretrained(start, torch_dtype=torch.float32).train()
    rate = 2e-3 if start is None else 1e-3
    optimizer = torch.optim.Adam(vae.parameters(), rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.05)
    running = 0.0
    for step, clip in zip(range(steps), batches(clips, np.random.default_rng(seed))):
        posterior = vae.encode(clip).latent_dist
        output = vae.decode(posterior.sample(draws), num_frames=FRAMES).sample
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        error = functional.l1_loss(output, clip)
        means = COLOUR_GAIN * functional.avg_pool2d(clip, 4)
        colour = functional.l1_loss(posterior.mean[:, :3], means)
        optimizer.zero_grad(set_to_none=True)
        (error + colour + KL_WEIGHT * kl).backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        running += (error.item() - running) / min(step + 1, 50)
        if (step + 1) % 50 == 0:
            facts = (step + 1, steps, running, colour.item(), kl.item())
            log.info("step %d of %d: L1 %.4f, colours %.4f, KL %.2f nats a latent value", *facts)
    vae.requires_grad_(False).eval()
    vae.register_to_config(scaling_factor=1 / deviation(vae, clips))
    return vae


@torch.no_grad()
def deviation(vae: AutoencoderKLTemporalDecoder, clips: list[Clip]) -> float:
    """Standard deviation of the latents (the posterior's mode) of every tenth demo frame."""
    latents = [vae.encode(pixels(clip[::10])).latent_dist.mode().flatten() for clip in clips]
    return float(torch.cat(latents).std())


@torch.no_grad()
def psnr(vae: AutoencoderKLTemporalDecoder, frames: Clip) -> float:
    """Of the decoded mode against the frames, dB. frames: uint8 (T, H, W, 3), sides divisible by 4."""
    wanted = pixels(frames)
    output = vae.decode(vae.encode(wanted).latent_dist.mode(), num_frames=len(frames)).sample.clamp(-1, 1)
    return float(10 * torch.log10(4 / (output - wanted).square().mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for config.json and the weights")
    parser.add_argument("--films", type=Path, default=Path("data/demo"), help="where the demo videos are, or are made")
    parser.add_argument("--casts", type=int, default=2, help="how many casts of the demo videos to learn from")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="a folder with a VAE of this kind to go on from")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    vae = fit(films(options.films, range(1, options.casts + 1)), options.steps, options.seed, options.start)
    for clip in films(options.films, range(1)):
        if min(clip.shape[1:3]) == SHORT_SIDES[0]:
            log.info("held-out film, %s: PSNR %.2f dB", clip.shape[1:3], psnr(vae, clip[20:34]))
    vae.half().save_pretrained(options.out)
    log.info("written to %s", options.out)


if __name__ == "__main__":
    main()
