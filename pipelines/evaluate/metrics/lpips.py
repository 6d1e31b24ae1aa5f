"""LPIPS on VGG16: the published heads over a trunk that the user brings.

Source: Zhang et al. 2018, lpips v0.1 (net vgg, linear heads). The heads lie in torchmetrics' package; the trunk is
torchvision's vgg16-397923af.pth.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pipelines.clip import Frames
from pipelines.evaluate.nets.state_dict import read_tensors
from pipelines.evaluate.nets.vgg import CHANNELS, Vgg16
from pipelines.weights_error import WeightsError

SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
# Below the length of any real feature vector; keeps zero from being divided by zero.
TINY = 1e-10
LEAST = 16


def heads_file() -> Path | None:
    """The heads in torchmetrics' package, or None where it is not installed."""
    found = importlib.util.find_spec("torchmetrics")
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / "functional" / "image" / "lpips_models" / "vgg.pth"
    return path if path.is_file() else None


class Lpips(nn.Module):
    """trunk: VGG16. heads: the file of the five linear layers. Raises WeightsError for another file."""

    shift: Tensor
    scale: Tensor

    def __init__(self, trunk: Vgg16, heads: Path) -> None:
        super().__init__()
        self.trunk = trunk
        held = read_tensors(heads)
        wanted = {f"lin{number}.model.1.weight": (1, channels, 1, 1) for number, channels in enumerate(CHANNELS)}
        if {name: tuple(value.shape) for name, value in held.items()} != wanted:
            raise WeightsError(heads, f"expected the heads {', '.join(wanted)}; found {', '.join(held)}")
        self.heads = [held[name].float() for name in wanted]
        self.register_buffer("shift", torch.tensor(SHIFT)[None, :, None, None])
        self.register_buffer("scale", torch.tensor(SCALE)[None, :, None, None])

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distances (N,) of pictures (N, 3, H, W), which are meant to be in -1..1."""
        total = torch.zeros(len(a), device=a.device)
        for x, y, head in zip(self._features(a), self._features(b), self.heads):
            difference = (_unit(x) - _unit(y)) ** 2
            total += (difference * head.to(a.device)).sum(1).mean((1, 2))
        return total

    def _features(self, pictures: Tensor) -> list[Tensor]:
        return self.trunk((pictures - self.shift) / self.scale)


def _unit(x: Tensor) -> Tensor:
    return x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + TINY)


@torch.no_grad()
def lpips(net: Lpips, generated: Frames, truth: Frames, *, disco: bool, device: str = "cpu") -> np.ndarray:
    """Distances float64 (n,) of frames (n, H, W, 3), sides of at least 16.

    disco: hand the pictures over in 0..1 although the network expects -1..1, as DisCo does (DisCo#41).
    """
    a, b = (torch.from_numpy(frames).permute(0, 3, 1, 2).to(device).float() / 255 for frames in (generated, truth))
    if not disco:
        a, b = 2 * a - 1, 2 * b - 1
    return net(a, b).double().cpu().numpy()
