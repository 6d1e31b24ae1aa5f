"""SVD's VAE: pictures to latents and back, long videos in flat memory.

Pictures are float (..., 3, H, W) in -1..1, RGB. Latents are (..., C, h, w), h = H / factor; C = 4, factor = 8 in SVD.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models import AutoencoderKLTemporalDecoder
from torch import Tensor

from model.edm import noised


@dataclass(frozen=True)
class Moments:
    """What the encoder says of each picture: mean and standard deviation (N, C, h, w), *not* scaled."""

    mean: Tensor
    std: Tensor

    def mode(self) -> Tensor:
        return self.mean

    def sample(self, noise: Tensor) -> Tensor:
        """noise: (N, C, h, w), standard normal."""
        return self.mean + self.std * noise


@dataclass(frozen=True)
class DecodeWindow:
    """How the temporal decoder walks a video: `frames` at a time, of which `context` at either inner end are decoded
    only so that their neighbours see them, and thrown away.

    The decoder looks at neighbouring frames (convolutions over time) and normalises over all frames that it is given,
    so no context makes the result that of one call on the whole video; a larger one comes nearer. Work grows by
    frames / (frames - 2 context).
    """

    frames: int = 14
    context: int = 2

    def __post_init__(self) -> None:
        if self.frames < 1 or self.context < 0 or self.frames <= 2 * self.context:
            raise ValueError(
                f"decoding {self.frames} frames at a time with {self.context} of context at either end leaves none: "
                "frames must be more than twice the context"
            )


class Vae:
    """An `AutoencoderKLTemporalDecoder`, frozen, with what SVD does around it.

    dtype: what the net runs in. Networks that say `force_upcast` (SVD's) overflow in float16 and run in float32
    instead. Results are float32 always.
    """

    def __init__(self, net: AutoencoderKLTemporalDecoder, dtype: torch.dtype | None = None) -> None:
        wanted = dtype or net.dtype
        config: Any = net.config
        if wanted == torch.float16 and config.force_upcast:
            wanted = torch.float32
        # Only where it must: diffusers warns of every conversion.
        self.net = (net if net.dtype == wanted else _moved(net, wanted)).eval().requires_grad_(False)
        self.scaling_factor: float = config.scaling_factor
        self.channels: int = config.latent_channels
        self.factor: int = 2 ** (len(config.block_out_channels) - 1)

    @property
    def device(self) -> torch.device:
        return self.net.device

    def to(self, device: torch.device | str) -> Vae:
        _moved(self.net, device)
        return self

    @torch.no_grad()
    def encode(self, pictures: Tensor, at_once: int = 8) -> Moments:
        """pictures: (N, 3, H, W), `at_once` at a time. Raises ValueError for sides that `factor` does not divide."""
        self._check(pictures)
        means, deviations = [], []
        for part in pictures.split(at_once):
            posterior = self.net.encode(part.to(self.device, self.net.dtype)).latent_dist
            means.append(posterior.mean.float())
            deviations.append(posterior.std.float())
        return Moments(torch.cat(means), torch.cat(deviations))

    def scaled(self, latents: Tensor) -> Tensor:
        """Latents as the networks see what they denoise and what they refer to: times the scaling factor."""
        return latents * self.scaling_factor

    def image_latent(self, pictures: Tensor, noise: Tensor, noise_aug: Tensor) -> Tensor:
        """SVD's image condition: the mode for the noise-augmented picture, *not* scaled; (N, C, h, w).

        noise: (N, 3, H, W), standard normal. noise_aug: (N,), its sigma in units of pixel values in -1..1.
        """
        return self.encode(noised(pictures, noise, noise_aug)).mode()

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """One call of the temporal decoder on consecutive frames: (T, C, h, w), scaled, to (T, 3, H, W)."""
        unscaled = (latents.to(self.device, torch.float32) / self.scaling_factor).to(self.net.dtype)
        return self.net.decode(unscaled, num_frames=len(latents)).sample.float()

    def decode_stream(self, latents: Iterable[Tensor], window: DecodeWindow) -> Iterator[Tensor]:
        """Scaled latents (C, h, w), frame by frame, to pictures (3, H, W), in order and as soon as they can be decoded.

        Holds `window.frames` latents and the pictures of one call. A video no longer than the window is one call; every
        call of a longer one is exactly `window.frames` frames, the last of them reaching back.
        """
        held: deque[Tensor] = deque(maxlen=window.frames)
        seen = given = 0
        for latent in latents:
            due = window.frames - (window.context if given else 0)
            if seen - given == due:
                pictures = self.decode(torch.stack(list(held)))
                yield from pictures[-due : window.frames - window.context]
                given = seen - window.context
            held.append(latent)
            seen += 1
        if held:
            yield from self.decode(torch.stack(list(held)))[given - seen :]

    def _check(self, pictures: Tensor) -> None:
        if pictures.ndim != 4 or pictures.shape[1] != 3:
            raise ValueError(f"pictures must be (N, 3, H, W), got {tuple(pictures.shape)}")
        height, width = pictures.shape[2:]
        if height % self.factor or width % self.factor:
            raise ValueError(f"a picture of {width}x{height} pixels: both sides must be divisible by {self.factor}")


def _moved(net: Any, to: torch.dtype | torch.device | str) -> Any:
    return net.to(to)


def to_uint8(pictures: Tensor) -> Tensor:
    """Pictures (..., 3, H, W) in -1..1, clipped, to uint8 (..., H, W, 3)."""
    return ((pictures / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).movedim(-3, -1)


def from_uint8(frames: Tensor) -> Tensor:
    """uint8 (..., H, W, 3) to float32 (..., 3, H, W) in -1..1."""
    return frames.movedim(-1, -3).float() / 127.5 - 1
