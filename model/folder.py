"""Weights in and out: random, from the published folders, and a VividPose folder of our own.

A VividPose folder is in diffusers' layout: `unet/` opens in diffusers as `UNetSpatioTemporalConditionModel`,
`reference_net/` as `UNet2DConditionModel`; `identity/` and `pose/` are ours; `model_index.json` has the configuration.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from safetensors.torch import save_file
from torch import Tensor

from model.config import BadConfig, VividPoseConfig, as_data, parse_config
from model.model_card import model_card
from model.trained_on import TrainedOn
from model.vividpose import VividPose
from model.weight_files import WEIGHTS, BadFolder, check_strictly, load_strictly, read_json

PARTS = ("unet", "reference_net", "identity", "pose")
STOCK_CLASSES = {"unet": "UNetSpatioTemporalConditionModel", "reference_net": "UNet2DConditionModel"}
# What says how a network was used, not what it is made of: SVD-XT has other frames, SD 2.1 base another size.
NOT_COMPARED = ("num_frames", "sample_size", "upcast_attention")


def create(config: VividPoseConfig, seed: int) -> VividPose:
    """Random weights: the same for the same seed, and the caller's random numbers are left as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VividPose(config)


def from_pretrained(
    svd: Path | str, sd21: Path | str, config: VividPoseConfig, seed: int = 0, dtype: torch.dtype = torch.float32
) -> VividPose:
    """SVD's UNet and Stable Diffusion 2.1's from their published folders; new controllers, so that the network is SVD.

    svd, sd21: diffusers folders that hold `unet/`. seed: of the controllers' random weights. `BadFolder` where a folder
    holds something else than the configuration says.
    """
    model = _empty(config)
    for part, folder in (("unet", Path(svd) / "unet"), ("reference_net", Path(sd21) / "unet")):
        _check_published(folder, part, as_data(getattr(config, part)))
        load_strictly(getattr(model, part), folder, dtype)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.add_controllers()
    return model.to(dtype)


def load_model(folder: Path | str, dtype: torch.dtype = torch.float32) -> VividPose:
    """What `save_model` wrote, in evaluation mode. `BadFolder` names the file that is missing, damaged or different."""
    folder = Path(folder)
    index = read_json(folder / "model_index.json", "a VividPose folder")
    if index.get("_class_name") != "VividPose":
        found = index.get("_class_name")
        raise BadFolder(f"{folder} holds a {found}, not a VividPose: its published weights go into `from_pretrained`")
    try:
        config = parse_config(index.get("config"), f"{folder / 'model_index.json'}: config")
    except BadConfig as error:
        raise BadFolder(str(error)) from error
    model = _empty(config)
    for part in PARTS:
        load_strictly(getattr(model, part), folder / part, dtype)
    return model.eval()


def check_folder(folder: Path | str, config: VividPoseConfig) -> None:
    """Whether a folder's weights are whole and of this network, from their headers: `BadFolder` says what is not."""
    model = _empty(config)
    for part in PARTS:
        check_strictly(getattr(model, part), Path(folder) / part)


def save_model(
    model: VividPose,
    folder: Path | str,
    *,
    state: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype | None = None,
    notes: Mapping[str, str] | None = None,
    trained_on: TrainedOn | None = None,
    overwrite: bool = False,
) -> None:
    """Writes all or nothing: the folder appears when it is complete.

    state: other weights than the model's own (their average over the training, or gathered from several machines), by
    the names of `model.state_dict()`. dtype: what to write, else as they are. notes: what the model card and the index
    say of its making. trained_on: what its training clips were like, for `animate`. What exists already is refused,
    unless with `overwrite` and a VividPose folder.
    """
    folder = Path(folder).absolute()
    if folder.exists() and not overwrite:
        raise FileExistsError(f"{folder} exists already; give another folder or overwrite=True")
    if folder.exists() and not _is_ours(folder):
        raise FileExistsError(f"{folder} is no VividPose folder, so it is not overwritten; give another one")
    state = model.state_dict() if state is None else state
    _check_names(state, model)
    partial, old = (folder.with_name(f".{folder.name}.{what}-{os.getpid()}") for what in ("partial", "old"))
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        _write_index(partial, model.config, dict(notes or {}), trained_on)
        for part in PARTS:
            _write_part(partial / part, part, model.config, state, dtype)
        clips = {} if trained_on is None else {"training clips": str(trained_on)}
        _write_text(partial / "README.md", model_card(model.config, {**(notes or {}), **clips}))
        if folder.exists():
            folder.rename(old)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(old, ignore_errors=True)


def _is_ours(folder: Path) -> bool:
    try:
        return read_json(folder / "model_index.json", "a VividPose folder").get("_class_name") == "VividPose"
    except BadFolder:
        return False


def _empty(config: VividPoseConfig) -> VividPose:
    """Without memory for its parameters: they come from files."""
    with torch.device("meta"):
        return VividPose(config)


def _check_published(folder: Path, part: str, expected: Mapping[str, Any]) -> None:
    found = read_json(folder / "config.json", f"the folder of a {STOCK_CLASSES[part]}")
    if found.get("_class_name") != STOCK_CLASSES[part]:
        raise BadFolder(f"{folder} holds a {found.get('_class_name')}, expected a {STOCK_CLASSES[part]}")
    for key, value in expected.items():
        if key in found and key not in NOT_COMPARED and _plain(found[key], value) != value:
            raise BadFolder(f"{folder / 'config.json'}: {key} is {found[key]}, expected {value} ({part}.{key})")


def _plain(found: Any, like: Any) -> Any:
    """diffusers writes one number where all levels have the same."""
    return [found] * len(like) if isinstance(like, list) and isinstance(found, int) else found


def _check_names(state: Mapping[str, Tensor], model: VividPose) -> None:
    expected = set(model.state_dict())
    missing, unknown = sorted(expected - set(state)), sorted(set(state) - expected)
    if missing or unknown:
        raise ValueError(f"weights that do not fit the model: missing {missing[:3]}, unknown {unknown[:3]}")


def _write_index(folder: Path, config: VividPoseConfig, notes: dict[str, str], trained_on: TrainedOn | None) -> None:
    index: dict[str, Any] = {
        "_class_name": "VividPose",
        "_diffusers_version": diffusers.__version__,
        "config": as_data(config),
        "notes": notes,
    }
    if trained_on is not None:
        index["trained_on"] = trained_on.as_data()
    _write_text(folder / "model_index.json", json.dumps(index, indent=2) + "\n")


def _write_part(
    folder: Path, part: str, config: VividPoseConfig, state: Mapping[str, Tensor], dtype: torch.dtype | None
) -> None:
    folder.mkdir()
    about = {"_diffusers_version": diffusers.__version__, **as_data(getattr(config, part))}
    about["_class_name"] = STOCK_CLASSES.get(part, f"VividPose.{part}")
    _write_text(folder / "config.json", json.dumps(about, indent=2, sort_keys=True) + "\n")
    tensors = {
        name.removeprefix(f"{part}."): tensor.detach().to("cpu", dtype or tensor.dtype).contiguous()
        for name, tensor in state.items()
        if name.startswith(f"{part}.")
    }
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    with (folder / WEIGHTS).open("rb") as file:
        os.fsync(file.fileno())


def _write_text(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
