"""VGG16 up to its last convolution, under torchvision's names (vgg16-397923af.pth)."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from pipelines.evaluate.nets.state_dict import load_strictly

# Channels of the convolutions, "pool" between the stages.
LAYERS = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512)
# Where LPIPS looks: after the last ReLU of every stage (conv1_2, 2_2, 3_3, 4_3, 5_3).
TAPS = (3, 8, 15, 22, 29)
CHANNELS = (64, 128, 256, 512, 512)


class Vgg16(nn.Module):
    """Input (N, 3, H, W), normalised by the caller; output: the five feature maps that LPIPS compares.

    Source: Simonyan and Zisserman 2014, configuration D, with torchvision's numbering of layers.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for layer in LAYERS:
            if isinstance(layer, str):
                layers.append(nn.MaxPool2d(2, 2))
                continue
            layers += [nn.Conv2d(channels, layer, 3, padding=1), nn.ReLU()]
            channels = layer
        self.features = nn.Sequential(*layers)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        maps = []
        for number, layer in enumerate(self.features):
            pictures = layer(pictures)
            if number in TAPS:
                maps.append(pictures)
        return maps


def load_vgg16(path: Path) -> Vgg16:
    """VGG16 from torchvision's file; its classifier is not used. Raises WeightsError."""
    net = Vgg16()
    load_strictly(net, path, ignored=("classifier.",))
    return net
