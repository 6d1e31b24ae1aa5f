"""The frozen networks that come with SVD: its VAE and CLIP's image encoder, from a folder in diffusers' layout."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models import AutoencoderKLTemporalDecoder
from transformers import CLIPVisionModelWithProjection

from model.image_encoder import CLIP_MEAN, CLIP_STD, ImageEncoder
from model.vae import Vae
from model.weight_files import BadFolder

TINY = Path(__file__).parent / "tiny"
"""Of the `tiny` configuration, shipped: a small VAE that `train.fit_vae` fitted, and an image encoder with random
weights (its token tells pictures apart; it knows nothing about them)."""

PREPROCESSOR = Path("feature_extractor") / "preprocessor_config.json"


@dataclass(frozen=True)
class Encoders:
    vae: Vae
    image: ImageEncoder

    def to(self, device: torch.device | str) -> Encoders:
        self.vae.to(device)
        self.image.to(device)
        return self


def load_encoders(
    folder: Path | str, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Encoders:
    """From an SVD folder, a VividPose folder, or `TINY`: `vae/`, `image_encoder/` and, where present,
    `feature_extractor/`. Only safetensors are read, the .fp16 files where there are no others.

    Raises BadFolder, which names the file that is missing or the parameters that are.
    """
    folder = Path(folder)
    vae = _load(AutoencoderKLTemporalDecoder, folder / "vae", "diffusion_pytorch_model", "torch_dtype", dtype)
    image = _load(CLIPVisionModelWithProjection, folder / "image_encoder", "model", "dtype", dtype)
    mean, std = _normalisation(folder / PREPROCESSOR)
    return Encoders(Vae(vae, dtype), ImageEncoder(image, dtype, mean, std)).to(device)


def _load(cls: Any, folder: Path, stem: str, dtype_option: str, dtype: torch.dtype) -> Any:
    if not (folder / "config.json").is_file():
        raise BadFolder(f"there is no {folder}/config.json: give a folder of Stable Video Diffusion or of VividPose")
    variant = None if _weights(folder, stem) else "fp16" if _weights(folder, f"{stem}.fp16") else "missing"
    if variant == "missing":
        raise BadFolder(f"there is no {folder / (stem + '.safetensors')}; weights are read from safetensors only")
    try:
        net, told = cls.from_pretrained(
            folder,
            variant=variant,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            **{dtype_option: dtype},
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise BadFolder(f"{folder}: cannot be loaded as {cls.__name__}: {error}") from error
    # The one buffer that old CLIP files hold and new code computes.
    wrong = {
        "missing": sorted(told["missing_keys"]),
        "unknown": sorted(key for key in told["unexpected_keys"] if not key.endswith("position_ids")),
        "of another shape": sorted(str(key[0]) for key in told["mismatched_keys"]),
    }
    for what, names in wrong.items():
        if names:
            raise BadFolder(f"{folder}: {len(names)} parameters are {what} for {cls.__name__}, first {names[0]}")
    return net


def _weights(folder: Path, stem: str) -> bool:
    return (folder / f"{stem}.safetensors").is_file() or any(folder.glob(f"{stem}*.safetensors.index*.json"))


def _normalisation(path: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if not path.is_file():
        return CLIP_MEAN, CLIP_STD
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return tuple(map(float, data["image_mean"])), tuple(map(float, data["image_std"]))
    except (KeyError, TypeError, ValueError) as error:
        raise BadFolder(f"{path}: expected image_mean and image_std: {error}") from error
