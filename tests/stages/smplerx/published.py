"""The published checkpoints' layout, written down from the published module list, not from the project's network."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

WIDTHS = {"s": (384, 12), "b": (768, 12), "l": (1024, 24), "h": (1280, 32)}
# Millions of parameters by the SMPLer-X README: encoder alone, whole network.
PUBLISHED_MILLIONS = {"s": (21.68, 32), "b": (85.82, 103), "l": (303.33, 327), "h": (630.95, 662)}

Shapes = dict[str, tuple[int, ...]]


def layout(width: int, depth: int) -> Shapes:
    """Every key of a published file without `module.`, before the renames, and its shape."""
    shapes: Shapes = {
        "backbone.pos_embed": (1, 193, width),
        "backbone.task_tokens": (1, 31, width),
        "backbone.patch_embed.proj.weight": (width, 3, 16, 16),
        "backbone.patch_embed.proj.bias": (width,),
        **_norm("backbone.last_norm", width),
    }
    for index in range(depth):
        block = f"backbone.blocks.{index}"
        shapes |= _norm(f"{block}.norm1", width) | _norm(f"{block}.norm2", width)
        shapes |= _linear(f"{block}.attn.qkv", width, 3 * width) | _linear(f"{block}.attn.proj", width, width)
        shapes |= _linear(f"{block}.mlp.fc1", width, 4 * width) | _linear(f"{block}.mlp.fc2", 4 * width, width)
    shapes |= _conv("body_position_net.conv.0", width, 400)
    shapes |= _linear("body_rotation_net.body_conv.0", width, 512)
    shapes |= _linear("body_rotation_net.root_pose_out.0", 25 * 515, 6)
    shapes |= _linear("body_rotation_net.body_pose_out.0", 25 * 515, 126)
    shapes |= _linear("body_rotation_net.shape_out.0", width, 10)
    shapes |= _linear("body_rotation_net.cam_out.0", width, 3)
    shapes |= _deconv("box_net.deconv", width + 400, 256, 256, 256)
    shapes |= _conv("box_net.bbox_center.0", 256, 3)
    for part in ("lhand", "rhand", "face"):
        shapes |= _linear(f"box_net.{part}_size.0", 256, 256) | _linear(f"box_net.{part}_size.2", 256, 2)
    shapes |= _deconv("hand_roi_net.deconv", width, width // 2, width // 4)
    shapes |= _conv("hand_roi_net.conv.0", width // 4, width)
    shapes |= _conv("hand_position_net.conv.0", width, 320)
    shapes |= _conv("hand_rotation_net.hand_conv.0", width, 512) | _batch_norm("hand_rotation_net.hand_conv.1", 512)
    shapes |= _linear("hand_rotation_net.hand_pose_out.0", 20 * 515, 90)
    shapes |= _linear("face_regressor.expr_out.0", width, 10)
    shapes |= _linear("face_regressor.jaw_pose_out.0", width, 6)
    return shapes


def _linear(name: str, before: int, after: int) -> Shapes:
    return {f"{name}.weight": (after, before), f"{name}.bias": (after,)}


def _conv(name: str, before: int, after: int) -> Shapes:
    return {f"{name}.weight": (after, before, 1, 1), f"{name}.bias": (after,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _batch_norm(name: str, width: int) -> Shapes:
    return {
        **_norm(name, width),
        f"{name}.running_mean": (width,),
        f"{name}.running_var": (width,),
        f"{name}.num_batches_tracked": (),
    }


def _deconv(name: str, *widths: int) -> Shapes:
    shapes: Shapes = {}
    for index, (before, after) in enumerate(pairwise(widths)):
        shapes[f"{name}.{3 * index}.weight"] = (before, after, 4, 4)
        shapes |= _batch_norm(f"{name}.{3 * index + 1}", after)
    return shapes


def random_state(shapes: Shapes, seed: int = 0) -> dict[str, Tensor]:
    """Random values under the published keys, of a size that keeps activations and boxes within bounds."""
    random = np.random.default_rng(seed)
    state = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            state["module." + name] = torch.tensor(1000)
            continue
        elif name.endswith("running_var"):
            value = random.uniform(0.5, 1.5, shape)
        elif len(shape) == 1 and name.endswith("weight"):
            value = random.normal(1, 0.1, shape)
        else:
            inputs = math.prod(shape[1:]) if len(shape) > 1 else 100
            value = random.standard_normal(shape, np.float32) / inputs**0.5
        state["module." + name] = torch.as_tensor(value, dtype=torch.float32)
    # Hands and faces of about three cells, as in pictures of people.
    for part in ("lhand", "rhand", "face"):
        state[f"module.box_net.{part}_size.2.bias"] = torch.tensor([3.0, 2.5])
    return state


def write_checkpoint(path: Path, size: str = "s", seed: int = 0) -> Path:
    """A file as published: the weights under 'network', an optimiser beside them."""
    content = {"epoch": 9, "network": random_state(layout(*WIDTHS[size]), seed), "optimizer": {"state": {}}}
    torch.save(content, path)
    return path


def waves(width: int, height: int) -> NDArray[np.uint8]:
    """A smooth picture (height, width, 3) that is nowhere like its mirror image."""
    y, x = np.mgrid[:height, :width]
    channels = [np.sin(x / 23 + y / 61) + np.sin(y / 17), np.sin(x / 41 - y / 29) * 2, np.sin(x * y / 9000) * 2]
    return np.round(127.5 + 60 * np.stack(channels, axis=2)).astype(np.uint8)
