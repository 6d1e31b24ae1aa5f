"""Reads the weights of a diffusers folder: whole or in shards, full or half precision, names and shapes checked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

WEIGHTS = "diffusion_pytorch_model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
HALF = "diffusion_pytorch_model.fp16.safetensors"
# Full precision first: it is what training starts from. The index of half-precision shards had two names over time.
LOOKED_FOR = (WEIGHTS, INDEX, HALF, f"{HALF}.index.json", f"{WEIGHTS}.index.fp16.json")


class BadFolder(ValueError):
    """A folder of weights that is not there, not complete, damaged, or of another network."""


def read_json(path: Path, what: str) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise BadFolder(f"{path} is missing: {path.parent} is not {what}") from None
    except OSError as error:
        raise BadFolder(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise BadFolder(f"{path} is damaged: {error}") from error
    if not isinstance(data, dict):
        raise BadFolder(f"{path} must hold an object, found {type(data).__name__}")
    return data


def load_strictly(module: nn.Module, folder: Path, dtype: torch.dtype) -> None:
    """Puts the folder's weights, converted to `dtype`, in the place of the module's parameters, which may be on the
    meta device. Every name and shape must agree: `BadFolder` lists the first few that do not. The module is changed
    only when all is well."""
    expected = _shapes(module)
    loaded: dict[str, Tensor] = {}
    for file in weight_files(folder):
        for name, tensor in tensors(file):
            if tuple(tensor.shape) == expected.get(name):
                # A copy, one at a time: the file's bytes are not aligned, with which sums may round differently.
                tensor = tensor.to(dtype, copy=True)
            loaded[name] = tensor
    _compare(folder, expected, {name: tuple(tensor.shape) for name, tensor in loaded.items()})
    module.load_state_dict(loaded, strict=True, assign=True)


def check_strictly(module: nn.Module, folder: Path) -> None:
    """Whether `load_strictly` would do it, by the files' headers: every name, shape, length. Raises `BadFolder`."""
    found: dict[str, tuple[int, ...]] = {}
    for file in weight_files(folder):
        try:
            with safe_open(file, framework="pt") as opened:
                found |= {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise BadFolder(f"{file} is damaged or not a safetensors file: {error}") from error
    _compare(folder, _shapes(module), found)


def check_readable(folder: Path, stem: str) -> None:
    """Whether the safetensors files of a part named so, whole or in shards, are there and whole. Raises `BadFolder`."""
    files = sorted(folder.glob(f"{stem}*.safetensors"))
    if not files:
        raise BadFolder(f"there is no {folder / stem}.safetensors; weights are read from safetensors only")
    for file in files:
        try:
            with safe_open(file, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise BadFolder(f"{file} is damaged or not a safetensors file: {error}") from error


Shapes = dict[str, tuple[int, ...]]


def _shapes(module: nn.Module) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def _compare(folder: Path, expected: Shapes, found: Shapes) -> None:
    problems = [f"{name} is missing" for name in expected if name not in found]
    problems += [f"{name} is unknown" for name in found if name not in expected]
    problems += [
        f"{name} has the shape {found[name]}, expected {shape}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    if problems:
        more = f", and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise BadFolder(f"{folder} does not fit this model: {'; '.join(problems[:4])}{more}")


def weight_files(folder: Path) -> list[Path]:
    """The file, or the shards, that hold the weights."""
    for name in LOOKED_FOR:
        if (folder / name).is_file():
            return _shards(folder / name) if name.endswith(".json") else [folder / name]
    raise BadFolder(f"{folder} holds no weights: expected {WEIGHTS}, or {INDEX} with its shards")


def tensors(file: Path) -> Iterator[tuple[str, Tensor]]:
    try:
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118
                yield name, opened.get_tensor(name)
    except (SafetensorError, OSError) as error:
        raise BadFolder(f"{file} is damaged or not a safetensors file: {error}") from error


def _shards(index: Path) -> list[Path]:
    by_name = read_json(index, "an index of shards").get("weight_map")
    if not isinstance(by_name, dict):
        raise BadFolder(f"{index} has no weight_map")
    names = sorted({Path(str(name)).name for name in by_name.values()})
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise BadFolder(f"{index.parent}: {len(missing)} of {len(names)} shards are missing: {', '.join(missing[:4])}")
    return [index.parent / name for name in names]
