"""CLIP's image encoder as Stable Video Diffusion uses it: one token for a picture."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPVisionModelWithProjection

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class ImageEncoder:
    """A `CLIPVisionModelWithProjection`, frozen, with SVD's preprocessing. dtype: what the net runs in.

    mean, std: the normalisation of pictures in 0..1, as `feature_extractor/preprocessor_config.json` gives it.
    """

    def __init__(
        self,
        net: CLIPVisionModelWithProjection,
        dtype: torch.dtype | None = None,
        mean: tuple[float, ...] = CLIP_MEAN,
        std: tuple[float, ...] = CLIP_STD,
    ) -> None:
        self.net = _converted(net, dtype).eval().requires_grad_(False)
        self.mean, self.std = mean, std
        self.size = int(net.config.image_size)  # type: ignore[arg-type]
        self.width = net.config.projection_dim

    @property
    def device(self) -> torch.device:
        return self.net.device

    def to(self, device: torch.device | str) -> ImageEncoder:
        self.net.to(device)
        return self

    @torch.no_grad()
    def embed(self, pictures: Tensor, at_once: int = 16) -> Tensor:
        """pictures: float (N, 3, H, W) in -1..1, RGB, without noise -> float32 (N, 1, width).

        Source: `StableVideoDiffusionPipeline._encode_image`: resized while in -1..1, squeezed to a square whatever the
        shape, then normalised.
        """
        if pictures.ndim != 4 or pictures.shape[1] != 3:
            raise ValueError(f"pictures must be (N, 3, H, W), got {tuple(pictures.shape)}")
        return torch.cat([self._embed(part) for part in pictures.split(at_once)])

    def _embed(self, pictures: Tensor) -> Tensor:
        small = resize_antialiased(pictures.to(self.device, torch.float32), self.size)
        mean, std = (torch.tensor(values, device=self.device).view(1, 3, 1, 1) for values in (self.mean, self.std))
        normalised = ((small + 1) / 2 - mean) / std
        embeddings = self.net(pixel_values=normalised.to(self.net.dtype)).image_embeds
        return embeddings.float().unsqueeze(1)


def _converted(net: Any, dtype: torch.dtype | None) -> Any:
    return net if dtype is None else net.to(dtype=dtype)


def resize_antialiased(pictures: Tensor, size: int) -> Tensor:
    """(N, C, H, W) to (N, C, size, size): a Gaussian blur as wide as the shrinking asks for, then bicubic with the
    corner pixels' centres kept in place. It is not CLIP's own resize; SVD was trained with this one.
    """
    for axis in (-2, -1):
        pictures = _blurred(pictures, pictures.shape[axis] / size, axis)
    return functional.interpolate(pictures, size=(size, size), mode="bicubic", align_corners=True)


def _blurred(pictures: Tensor, shrinking: float, axis: int) -> Tensor:
    """A Gaussian of deviation (shrinking - 1) / 2 pixels along one axis, cut off at two deviations, edges mirrored."""
    sigma = max((shrinking - 1) / 2, 0.001)
    taps = int(max(4 * sigma, 3)) | 1
    at = torch.arange(taps, device=pictures.device, dtype=pictures.dtype) - taps // 2
    kernel = (-at.square() / (2 * sigma * sigma)).exp()
    kernel = kernel / kernel.sum()
    half = taps // 2
    channels = pictures.shape[1]
    if axis == -2:
        padded = functional.pad(pictures, (0, 0, half, half), mode="reflect")
        return functional.conv2d(padded, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    padded = functional.pad(pictures, (half, half, 0, 0), mode="reflect")
    return functional.conv2d(padded, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
