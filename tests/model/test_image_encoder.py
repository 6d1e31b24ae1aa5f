"""CLIP's image encoder against the code path of diffusers' pipeline."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_video_diffusion.pipeline_stable_video_diffusion import (
    StableVideoDiffusionPipeline,
    _resize_with_antialiasing,
)
from PIL import Image
from transformers import CLIPImageProcessorPil

from model.encoders import TINY, load_encoders
from model.image_encoder import ImageEncoder, resize_antialiased
from model.vae import from_uint8
from model.weight_files import BadFolder


@pytest.fixture(scope="module")
def encoder() -> ImageEncoder:
    return load_encoders(TINY).image


@pytest.mark.parametrize("size", [(768, 512), (96, 64), (224, 224), (100, 600), (37, 900)])
def test_the_resize_is_diffusers_own(size: tuple[int, int]) -> None:
    pictures = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = _resize_with_antialiasing(pictures, (224, 224))
    torch.testing.assert_close(resize_antialiased(pictures, 224), expected, atol=1e-6, rtol=0)


def test_embeddings_are_those_of_the_pipeline(encoder: ImageEncoder) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (300, 200, 3)).astype(np.uint8)
    pipeline = StableVideoDiffusionPipeline(None, encoder.net, None, None, CLIPImageProcessorPil())
    expected = pipeline._encode_image(Image.fromarray(frame), "cpu", 1, False)
    ours = encoder.embed(from_uint8(torch.from_numpy(frame))[None])
    assert ours.shape == (1, 1, encoder.width)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_pictures_are_told_apart(encoder: ImageEncoder) -> None:
    dark, bright = encoder.embed(torch.stack([torch.full((3, 64, 48), v) for v in (-0.8, 0.8)]))[:, 0]
    assert float(torch.cosine_similarity(dark, bright, dim=0)) < 0.9


def test_a_batch_is_its_pictures(encoder: ImageEncoder) -> None:
    pictures = torch.rand(3, 3, 64, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    each = torch.cat([encoder.embed(picture[None]) for picture in pictures])
    torch.testing.assert_close(encoder.embed(pictures, at_once=2), each, atol=1e-5, rtol=1e-5)


def test_the_normalisation_comes_from_the_folder(tmp_path: Path) -> None:
    shutil.copytree(TINY, tmp_path / "folder")
    path = tmp_path / "folder" / "feature_extractor" / "preprocessor_config.json"
    path.write_text(json.dumps({"image_mean": [0.5, 0.4, 0.3], "image_std": [1, 2, 3]}))
    assert load_encoders(tmp_path / "folder").image.mean == (0.5, 0.4, 0.3)
    path.write_text("{}")
    with pytest.raises(BadFolder, match=r"preprocessor_config\.json"):
        load_encoders(tmp_path / "folder")


def test_a_missing_parameter_is_named(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(TINY, tmp_path / "folder")
    weights = tmp_path / "folder" / "image_encoder" / "model.safetensors"
    tensors = load_file(weights)
    del tensors["visual_projection.weight"]
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(BadFolder, match=r"visual_projection\.weight"):
        load_encoders(tmp_path / "folder")
