"""Conformance files: random values under the published names and shapes, typed out apart from the networks.

The names and shapes below are those of the published files as their projects document them; a network that drifts from
them can no longer load its file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

Shape = tuple[int, ...]


def batch_norm(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{part}", (width,)


def vgg16() -> Iterator[tuple[str, Shape]]:
    convolutions = {0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256),
                    14: (256, 256), 17: (512, 256), 19: (512, 512), 21: (512, 512), 24: (512, 512), 26: (512, 512),
                    28: (512, 512)}  # fmt: skip
    for number, (outputs, inputs) in convolutions.items():
        yield f"features.{number}.weight", (outputs, inputs, 3, 3)
        yield f"features.{number}.bias", (outputs,)


def resnet3d() -> Iterator[tuple[str, Shape]]:
    yield "conv1.weight", (64, 3, 7, 7, 7)
    yield from batch_norm("bn1", 64)
    inputs = 64
    for layer, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 1):
        for block in range(blocks):
            at = f"layer{layer}.{block}"
            yield f"{at}.conv1.weight", (width, inputs, 1, 1, 1)
            yield f"{at}.conv2.weight", (width, width, 3, 3, 3)
            yield f"{at}.conv3.weight", (4 * width, width, 1, 1, 1)
            yield from batch_norm(f"{at}.bn1", width)
            yield from batch_norm(f"{at}.bn2", width)
            yield from batch_norm(f"{at}.bn3", 4 * width)
            if block == 0:
                yield f"{at}.downsample.0.weight", (4 * width, inputs, 1, 1, 1)
                yield from batch_norm(f"{at}.downsample.1", 4 * width)
            inputs = 4 * width
    yield "fc.weight", (400, 2048)
    yield "fc.bias", (400,)


def i3d() -> Iterator[tuple[str, Shape]]:
    def unit(name: str, outputs: int, inputs: int, kernel: int) -> Iterator[tuple[str, Shape]]:
        yield f"{name}.conv3d.weight", (outputs, inputs, kernel, kernel, kernel)
        yield from batch_norm(f"{name}.bn", outputs)

    yield from unit("Conv3d_1a_7x7", 64, 3, 7)
    yield from unit("Conv3d_2b_1x1", 64, 64, 1)
    yield from unit("Conv3d_2c_3x3", 192, 64, 3)
    mixed = {"3b": (64, 96, 128, 16, 32, 32), "3c": (128, 128, 192, 32, 96, 64), "4b": (192, 96, 208, 16, 48, 64),
             "4c": (160, 112, 224, 24, 64, 64), "4d": (128, 128, 256, 24, 64, 64), "4e": (112, 144, 288, 32, 64, 64),
             "4f": (256, 160, 320, 32, 128, 128), "5b": (256, 160, 320, 32, 128, 128),
             "5c": (384, 192, 384, 48, 128, 128)}  # fmt: skip
    inputs = 192
    for name, (one, a, three, b, second, pooled) in mixed.items():
        at = f"Mixed_{name}"
        yield from unit(f"{at}.b0", one, inputs, 1)
        yield from unit(f"{at}.b1a", a, inputs, 1)
        yield from unit(f"{at}.b1b", three, a, 3)
        yield from unit(f"{at}.b2a", b, inputs, 1)
        yield from unit(f"{at}.b2b", second, b, 3)
        yield from unit(f"{at}.b3b", pooled, inputs, 1)
        inputs = one + three + second + pooled
    yield "logits.conv3d.weight", (400, 1024, 1, 1, 1)
    yield "logits.conv3d.bias", (400,)


def inception() -> Iterator[tuple[str, Shape]]:
    def unit(name: str, outputs: int, inputs: int, height: int, width: int) -> Iterator[tuple[str, Shape]]:
        yield f"{name}.conv.weight", (outputs, inputs, height, width)
        yield from batch_norm(f"{name}.bn", outputs)

    for name, outputs, inputs, side in (("Conv2d_1a_3x3", 32, 3, 3), ("Conv2d_2a_3x3", 32, 32, 3),
                                        ("Conv2d_2b_3x3", 64, 32, 3), ("Conv2d_3b_1x1", 80, 64, 1),
                                        ("Conv2d_4a_3x3", 192, 80, 3)):  # fmt: skip
        yield from unit(name, outputs, inputs, side, side)
    for name, inputs, pooled in (("Mixed_5b", 192, 32), ("Mixed_5c", 256, 64), ("Mixed_5d", 288, 64)):
        for branch, outputs, source, side in (("branch1x1", 64, inputs, 1), ("branch5x5_1", 48, inputs, 1),
                                              ("branch5x5_2", 64, 48, 5), ("branch3x3dbl_1", 64, inputs, 1),
                                              ("branch3x3dbl_2", 96, 64, 3), ("branch3x3dbl_3", 96, 96, 3),
                                              ("branch_pool", pooled, inputs, 1)):  # fmt: skip
            yield from unit(f"{name}.{branch}", outputs, source, side, side)
    for branch, outputs, source, side in (("branch3x3", 384, 288, 3), ("branch3x3dbl_1", 64, 288, 1),
                                          ("branch3x3dbl_2", 96, 64, 3), ("branch3x3dbl_3", 96, 96, 3)):  # fmt: skip
        yield from unit(f"Mixed_6a.{branch}", outputs, source, side, side)
    for name, c in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
        for branch, outputs, source, height, width in (
            ("branch1x1", 192, 768, 1, 1), ("branch7x7_1", c, 768, 1, 1), ("branch7x7_2", c, c, 1, 7),
            ("branch7x7_3", 192, c, 7, 1), ("branch7x7dbl_1", c, 768, 1, 1), ("branch7x7dbl_2", c, c, 7, 1),
            ("branch7x7dbl_3", c, c, 1, 7), ("branch7x7dbl_4", c, c, 7, 1), ("branch7x7dbl_5", 192, c, 1, 7),
            ("branch_pool", 192, 768, 1, 1),
        ):  # fmt: skip
            yield from unit(f"{name}.{branch}", outputs, source, height, width)
    for branch, outputs, source, height, width in (
        ("branch3x3_1", 192, 768, 1, 1), ("branch3x3_2", 320, 192, 3, 3), ("branch7x7x3_1", 192, 768, 1, 1),
        ("branch7x7x3_2", 192, 192, 1, 7), ("branch7x7x3_3", 192, 192, 7, 1), ("branch7x7x3_4", 192, 192, 3, 3),
    ):  # fmt: skip
        yield from unit(f"Mixed_7a.{branch}", outputs, source, height, width)
    for name, inputs in (("Mixed_7b", 1280), ("Mixed_7c", 2048)):
        for branch, outputs, source, height, width in (
            ("branch1x1", 320, inputs, 1, 1), ("branch3x3_1", 384, inputs, 1, 1), ("branch3x3_2a", 384, 384, 1, 3),
            ("branch3x3_2b", 384, 384, 3, 1), ("branch3x3dbl_1", 448, inputs, 1, 1), ("branch3x3dbl_2", 384, 448, 3, 3),
            ("branch3x3dbl_3a", 384, 384, 1, 3), ("branch3x3dbl_3b", 384, 384, 3, 1),
            ("branch_pool", 192, inputs, 1, 1),
        ):  # fmt: skip
            yield from unit(f"{name}.{branch}", outputs, source, height, width)
    yield "fc.weight", (1008, 2048)
    yield "fc.bias", (1008,)


def random_tensors(shapes: Iterator[tuple[str, Shape]]) -> dict[str, Tensor]:
    """Values that keep signals at a steady scale through the layers; no counters, as in the oldest of the files."""
    generator = torch.Generator().manual_seed(0)
    made = {}
    for name, shape in shapes:
        value = torch.randn(shape, generator=generator)
        if len(shape) > 1:
            value *= (2 / (value.numel() / shape[0])) ** 0.5
        elif name.endswith("running_var") or (".bn" in name and name.endswith("weight")):
            value = 1 + 0.1 * value.abs()
        else:
            value *= 0.1
        made[name] = value
    return made


def write(path: Path, shapes: Iterator[tuple[str, Shape]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(random_tensors(shapes), path)
    return path
