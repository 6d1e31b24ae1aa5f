"""The way through a diffusers UNet, as a list of steps: the denoising network and the ReferenceNet share it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class Step:
    """One block, by its name in the UNet. takes_skip: its input is joined with the latest kept tensor. keeps: its
    output is kept for the way up."""

    kind: Literal["resnet", "transformer", "resample"]
    name: str
    takes_skip: bool = False
    keeps: bool = False


def steps(unet: Any) -> list[Step]:
    """From behind `conv_in` to before `conv_norm_out`, in the order in which they run."""
    way: list[Step] = []
    for i, stage in enumerate(unet.down_blocks):
        for j in range(len(stage.resnets)):
            attends = hasattr(stage, "attentions")
            way.append(Step("resnet", f"down_blocks.{i}.resnets.{j}", keeps=not attends))
            if attends:
                way.append(Step("transformer", f"down_blocks.{i}.attentions.{j}", keeps=True))
        for j in range(len(stage.downsamplers or ())):
            way.append(Step("resample", f"down_blocks.{i}.downsamplers.{j}", keeps=True))

    way.append(Step("resnet", "mid_block.resnets.0"))
    for j in range(len(unet.mid_block.attentions)):
        way.append(Step("transformer", f"mid_block.attentions.{j}"))
        way.append(Step("resnet", f"mid_block.resnets.{j + 1}"))

    for i, stage in enumerate(unet.up_blocks):
        for j in range(len(stage.resnets)):
            way.append(Step("resnet", f"up_blocks.{i}.resnets.{j}", takes_skip=True))
            if hasattr(stage, "attentions"):
                way.append(Step("transformer", f"up_blocks.{i}.attentions.{j}"))
        for j in range(len(stage.upsamplers or ())):
            way.append(Step("resample", f"up_blocks.{i}.upsamplers.{j}"))
    return way


def walk(
    unet: Any,
    way: Sequence[Step],
    x: Tensor,
    resnet: Callable[[Any, Tensor], Tensor],
    transformer: Callable[[str, Any, Tensor], Tensor],
) -> Tensor:
    """x: (N, C, h, w), of `conv_in`. resnet(module, x) and transformer(name, module, x) run one block each."""
    kept = [x]
    for step in way:
        module = unet.get_submodule(step.name)
        if step.takes_skip:
            x = torch.cat([x, kept.pop()], dim=1)
        if step.kind == "resnet":
            x = resnet(module, x)
        elif step.kind == "transformer":
            x = transformer(step.name, module, x)
        else:
            x = module(x)
        if step.keeps:
            kept.append(x)
    return x
