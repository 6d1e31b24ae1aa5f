"""Loading a published weight file into a network, strictly by name and shape, without running anything in it."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from pipelines.weights_error import WeightsError

# Batch normalisation gained this counter in PyTorch 0.4.1; inference does not use it.
COUNTER = "num_batches_tracked"


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .pth, .pt or .safetensors file, by name. A checkpoint's `state_dict` is taken out of it, the
    prefix `module.` of DataParallel is taken off.

    Raises WeightsError for a file that is missing, damaged, or holds more than plain tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(safetensors.torch.load_file(path))
        held = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise WeightsError(path, "there is no such file") from error
    except OSError as error:
        raise WeightsError(path, f"cannot be read: {error.strerror or error}") from error
    except (pickle.UnpicklingError, safetensors.SafetensorError, RuntimeError, EOFError, ValueError) as error:
        # PyTorch's own message recommends to run what is in the file.
        raise WeightsError(
            path, "is damaged, or holds more than plain tensors; download it again, or convert it where you trust it"
        ) from error
    if isinstance(held, Mapping) and isinstance(held.get("state_dict"), Mapping):
        held = held["state_dict"]
    if not isinstance(held, Mapping) or not all(isinstance(value, Tensor) for value in held.values()):
        raise WeightsError(path, f"expected named tensors, found {type(held).__name__}")
    return {str(name).removeprefix("module."): value for name, value in held.items()}


def load_strictly(module: nn.Module, path: Path, ignored: tuple[str, ...] = ()) -> None:
    """Put a file's tensors in the place of the module's own, and the module into evaluation mode.

    Every name and every shape must agree, in both directions; names that begin with one of `ignored`, and the counters
    of batch normalisation, may be there or not. The module changes only when all is well. Raises WeightsError naming
    the first few that do not fit.
    """
    found = {name: value for name, value in read_tensors(path).items() if not name.startswith(ignored or ("\0",))}
    wanted = module.state_dict()
    problems = [f"{name} is missing" for name in wanted if name not in found and not name.endswith(COUNTER)]
    problems += [f"{name} is unknown" for name in found if name not in wanted and not name.endswith(COUNTER)]
    problems += [
        f"{name} has the shape {tuple(found[name].shape)}, expected {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in found and found[name].shape != value.shape
    ]
    problems += [f"{name} holds values that are not finite" for name in wanted
                 if name in found and not bool(torch.isfinite(found[name].float()).all())]  # fmt: skip
    if problems:
        more = f", and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise WeightsError(path, f"is not a {type(module).__name__}: {'; '.join(problems[:4])}{more}")
    module.load_state_dict({name: found.get(name, value) for name, value in wanted.items()})
    module.eval().requires_grad_(False)
