"""Loading the published SMPLer-X checkpoints, strictly and without running anything that a file says.

The files hold {"network": {"module.<name>": tensor}, ...}. Source of the renames: SMPLer-X common/base.py.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from pipelines.weights_error import WeightsError

from .network import Network
from .vit import SIZES, EncoderSize

LICENCE = "S-Lab License 1.0 (https://github.com/MotrixLab/SMPLer-X/blob/main/LICENSE): non-commercial use only"
RENAMES = {"backbone": "encoder", "body_rotation_net": "body_regressor", "hand_rotation_net": "hand_regressor"}
# SMPL-X itself, which some snapshots carry along; the body comes from the user's SMPL-X file.
BODY_MODEL = "smplx_layer."
_NAMED_SIZE = re.compile(r"smpler_x_([sblh])32")
_NAMES_SHOWN = 5


def load_network(path: Path, size: str | None = None) -> tuple[Network, EncoderSize]:
    """The network of a checkpoint file on the CPU in float32, in evaluation mode, and its size.

    size: "s", "b", "l" or "h", the size that is expected; by default the one in the file's name, and where that says
    nothing, the one that the weights have. Raises WeightsError.
    """
    path = Path(path)
    state = read_state(path)
    found = size_of(state, path)
    named = _NAMED_SIZE.search(path.name)
    wanted = size or (named.group(1) if named else found.name)
    if wanted not in SIZES:
        raise ValueError(f"there is no SMPLer-X of size {wanted!r}; there are {', '.join(SIZES)}")
    if wanted != found.name:
        raise WeightsError(
            path,
            f"expected {SIZES[wanted].checkpoint} (width {SIZES[wanted].width}, {SIZES[wanted].depth} blocks), "
            f"but this seems to be {found.checkpoint} (width {found.width}, {found.depth} blocks). Give the right "
            "file, or rename this one",
        )
    with torch.device("meta"):
        network = Network(found)
    _check(state, network.state_dict(), path)
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval().requires_grad_(False), found


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint under the network's names; floats as float32. Nothing in the file is executed."""
    if not path.is_file():
        raise WeightsError(path, "no such file; `vividpose weights` tells where to get it")
    try:
        # Mapped files cost no memory for the optimiser's state, which the published files carry along.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        # torch's advice is to load the file with weights_only=False, which is just what must not be done.
        reason = str(error).replace("\n", " ").split(" Please")[0][:300]
        raise WeightsError(
            path,
            "holds more than tensors, or is no checkpoint; it was not opened, for such a file can run any program. "
            f"Fetch it again from where the authors publish it. ({reason})",
        ) from error
    except (RuntimeError, EOFError, OSError, KeyError, ValueError) as error:
        raise WeightsError(
            path,
            f"truncated or damaged, or no PyTorch checkpoint ({path.stat().st_size:,} bytes; {_first_line(error)}). If "
            "a download was cut short, delete the file and fetch it again",
        ) from error
    if not isinstance(content, Mapping) or not isinstance(content.get("network"), Mapping):
        keys = _some([str(key) for key in content]) if isinstance(content, Mapping) else type(content).__name__
        raise WeightsError(path, f"expected a checkpoint with the entry 'network', found: {keys}")
    state = {}
    for key, value in content["network"].items():
        if not isinstance(value, Tensor):
            raise WeightsError(path, f"network[{key!r}] is no tensor but {type(value).__name__}")
        name = renamed(str(key))
        if not name.startswith(BODY_MODEL):
            state[name] = value.float() if value.is_floating_point() else value
    return state


def renamed(key: str) -> str:
    """The network's name of a published key."""
    head, dot, rest = key.removeprefix("module.").partition(".")
    return RENAMES.get(head, head) + dot + rest


def size_of(state: Mapping[str, Tensor], path: Path) -> EncoderSize:
    """The size whose width and depth the weights have."""
    position = state.get("encoder.pos_embed")
    if position is None:
        raise WeightsError(
            path,
            "has no encoder.pos_embed (or backbone.pos_embed), so it is no SMPLer-X checkpoint; it has "
            f"{_some(list(state))}",
        )
    width = position.shape[-1]
    blocks = {name.split(".")[2] for name in state if name.startswith("encoder.blocks.")}
    for size in SIZES.values():
        if (width, len(blocks)) == (size.width, size.depth):
            return size
    known = "; ".join(f"{size.checkpoint}: {size.width}, {size.depth}" for size in SIZES.values())
    raise WeightsError(path, f"width {width} and {len(blocks)} blocks are none of SMPLer-X's sizes ({known})")


def _check(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> None:
    found = {
        "missing": [name for name in expected if name not in state],
        "unexpected": [name for name in state if name not in expected],
    }
    if any(found.values()):
        wrong = "; ".join(f"{what}: {_some(names)}" for what, names in found.items() if names)
        raise WeightsError(path, f"the keys are not SMPLer-X's (after the renames); {wrong}")
    for name, tensor in expected.items():
        if state[name].shape != tensor.shape:
            raise WeightsError(
                path, f"{name} is {tuple(state[name].shape)}, expected {tuple(tensor.shape)}: another network"
            )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more
