"""The 3-D ResNet-50 of FID-VID, under the names of resnet-50-kinetics.pth (kenshohara/3D-ResNets-PyTorch).

Arithmetic: Hara et al. 2018, shortcut type B, as DisCo builds it (tool/metrics/resnet3d.py, last_fc=False).
"""

from __future__ import annotations

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from pipelines.evaluate.nets.state_dict import load_strictly

SIDE = 112
FRAMES = 16
WIDTH = 2048
# Subtracted from RGB values 0..255; there is no division.
MEAN = (114.7748, 107.7354, 99.4750)
BLOCKS = (3, 4, 6, 3)


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.conv1 = nn.Conv3d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = nn.Conv3d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm3d(width)
        self.conv3 = nn.Conv3d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv3d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm3d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet3d50(nn.Module):
    """Input (N, 3, 16, 112, 112), RGB 0..255 minus `MEAN`; output (N, 2048), before the classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(3, 64, 7, (1, 2, 2), padding=3, bias=False)
        self.bn1 = nn.BatchNorm3d(64)
        inputs = 64
        for number, count in enumerate(BLOCKS):
            width = 64 << number
            blocks = []
            for index in range(count):
                blocks.append(Bottleneck(inputs, width, 2 if number and index == 0 else 1))
                inputs = 4 * width
            self.add_module(f"layer{number + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(WIDTH, 400)  # in the file, not in the features

    def forward(self, clips: Tensor) -> Tensor:
        x = F.max_pool3d(F.relu(self.bn1(self.conv1(clips))), 3, 2, padding=1)
        for number in range(len(BLOCKS)):
            x = self.get_submodule(f"layer{number + 1}")(x)
        return x.mean((2, 3, 4))


def load_resnet3d(path: Path) -> ResNet3d50:
    """Raises WeightsError for a file that is not exactly this network."""
    net = ResNet3d50()
    load_strictly(net, path)
    return net
