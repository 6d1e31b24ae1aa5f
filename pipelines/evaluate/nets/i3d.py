"""I3D, the network of FVD, under the names of VideoGPT's i3d_pretrained_400.pt (those of piergiaj/pytorch-i3d).

Arithmetic: Carreira and Zisserman 2017, with TensorFlow's "same" padding. The published readers of the one file differ
in the epsilon of batch normalisation: 1e-5 in VideoGPT (videogpt/fvd/pytorch_i3d.py), 1e-3 in DisCo
(tool/metrics/inception3d.py); so it is an argument here and part of the protocol.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipelines.evaluate.nets.state_dict import load_strictly

SIDE = 224
CLASSES = 400
Triple = tuple[int, int, int]
# inputs, then the widths of: 1x1; 1x1 before 3x3, 3x3; 1x1 before the second 3x3, 3x3; 1x1 after the pool.
MIXED = {
    "Mixed_3b": (192, 64, 96, 128, 16, 32, 32),
    "Mixed_3c": (256, 128, 128, 192, 32, 96, 64),
    "Mixed_4b": (480, 192, 96, 208, 16, 48, 64),
    "Mixed_4c": (512, 160, 112, 224, 24, 64, 64),
    "Mixed_4d": (512, 128, 128, 256, 24, 64, 64),
    "Mixed_4e": (512, 112, 144, 288, 32, 64, 64),
    "Mixed_4f": (528, 256, 160, 320, 32, 128, 128),
    "Mixed_5b": (832, 256, 160, 320, 32, 128, 128),
    "Mixed_5c": (832, 384, 192, 384, 48, 128, 128),
}


def same(x: Tensor, kernel: Triple, stride: Triple) -> Tensor:
    """Zeros around (N, C, T, H, W) as TensorFlow's "same" lays them: the odd one at the end."""
    around: list[int] = []
    for size, k, s in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride)):
        total = max(k - (size % s or s), 0)
        around += [total // 2, total - total // 2]
    return F.pad(x, around)


class Unit(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, epsilon: float, stride: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride = (kernel,) * 3, (stride,) * 3
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(outputs, eps=epsilon)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv3d(same(x, self.kernel, self.stride))))


class Mixed(nn.Module):
    def __init__(self, widths: tuple[int, ...], epsilon: float) -> None:
        super().__init__()
        inputs, one, before, three, before_second, second, pooled = widths
        self.b0 = Unit(inputs, one, 1, epsilon)
        self.b1a = Unit(inputs, before, 1, epsilon)
        self.b1b = Unit(before, three, 3, epsilon)
        self.b2a = Unit(inputs, before_second, 1, epsilon)
        self.b2b = Unit(before_second, second, 3, epsilon)
        self.b3b = Unit(inputs, pooled, 1, epsilon)

    def forward(self, x: Tensor) -> Tensor:
        branches = (self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(_pool(x, (3, 3, 3), (1, 1, 1))))
        return torch.cat(branches, 1)


class Logits(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(1024, CLASSES, 1)


def _pool(x: Tensor, kernel: Triple, stride: Triple) -> Tensor:
    return F.max_pool3d(same(x, kernel, stride), kernel, stride)


class I3d(nn.Module):
    """Input (N, 3, T, 224, 224) in -1..1, RGB, T at least 9; output (N, 400): logits averaged over time."""

    def __init__(self, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = Unit(3, 64, 7, epsilon, stride=2)
        self.Conv3d_2b_1x1 = Unit(64, 64, 1, epsilon)
        self.Conv3d_2c_3x3 = Unit(64, 192, 3, epsilon)
        for name, widths in MIXED.items():
            self.add_module(name, Mixed(widths, epsilon))
        self.logits = Logits()

    def forward(self, clips: Tensor) -> Tensor:
        x = _pool(self.Conv3d_1a_7x7(clips), (1, 3, 3), (1, 2, 2))
        x = _pool(self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x)), (1, 3, 3), (1, 2, 2))
        for name in MIXED:
            if name == "Mixed_4b":
                x = _pool(x, (3, 3, 3), (2, 2, 2))
            elif name == "Mixed_5b":
                x = _pool(x, (2, 2, 2), (2, 2, 2))
            x = self.get_submodule(name)(x)
        # Pairs of moments are averaged before the logits (VideoGPT) or not (DisCo): at 16 frames, two moments, equal.
        x = F.avg_pool3d(x, (min(2, x.shape[2]), 7, 7), stride=1)
        return self.logits.conv3d(x).mean((2, 3, 4))


def load_i3d(path: Path, epsilon: float) -> I3d:
    """Raises WeightsError for a file that is not exactly this network."""
    net = I3d(epsilon)
    load_strictly(net, path)
    return net
