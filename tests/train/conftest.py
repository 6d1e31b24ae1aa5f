"""A dataset, a VAE and a model so small that a training run takes seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.train.runs import Run, Small
from tests.train.stream.small_shards import small_dataset


@pytest.fixture(scope="session")
def small_parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(data, encoders)"""
    import torch
    from diffusers.models import AutoencoderKLTemporalDecoder
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    folder = tmp_path_factory.mktemp("parts")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vae = AutoencoderKLTemporalDecoder(
            block_out_channels=(32, 32, 32), down_block_types=("DownEncoderBlock2D",) * 3, layers_per_block=1,
            latent_channels=4, sample_size=32, force_upcast=False,
        )  # fmt: skip
        image_encoder = CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=1,
                num_attention_heads=2,
                image_size=16,
                patch_size=8,
                projection_dim=16,
            )
        )
    image_encoder.save_pretrained(folder / "encoders" / "image_encoder")
    vae.save_pretrained(folder / "encoders" / "vae")
    return small_dataset(folder / "data"), folder / "encoders"


@pytest.fixture(scope="session")
def finished(small_parts: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of six steps that nothing disturbed, with checkpoints of steps 2, 4 and 6. Tests must not change it."""
    run = Small(tmp_path_factory.mktemp("finished"), *small_parts).start("finished")
    assert run.wait() == 0, run.told
    return run


@pytest.fixture
def small(small_parts: tuple[Path, Path], tmp_path: Path) -> Small:
    return Small(tmp_path, *small_parts)
