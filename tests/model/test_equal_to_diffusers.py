"""At step 0 the whole is SVD: our forward against the stock ones, on random weights, in fp32."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel, UNetSpatioTemporalConditionModel
from torch import Tensor

from model.conditions import Conditions
from model.config import as_data
from model.folder import create
from model.vividpose import VividPose
from tests.model.clips import busy_model, inputs, noisy, tiny_config

TOLERANCE = 1e-5


def as_svd(model: VividPose) -> VividPose:
    """Random weights everywhere but in the adapters, which are as they start."""
    model.add_controllers()
    return model.eval()


@pytest.fixture(scope="module")
def model() -> VividPose:
    return as_svd(busy_model())


def stock_of(model: VividPose) -> UNetSpatioTemporalConditionModel:
    stock = UNetSpatioTemporalConditionModel(**as_data(model.config.unet)).eval()
    stock.load_state_dict(model.unet.state_dict(), strict=True)
    return stock


def run_stock(model: VividPose, latent: Tensor, c_noise: Tensor, conditions: Conditions) -> Tensor:
    image = conditions.image_latent[:, None].expand(-1, latent.shape[1], -1, -1, -1)
    sample = torch.cat([latent, image], dim=2)
    return stock_of(model)(sample, c_noise, conditions.context, conditions.added_ids).sample


@torch.no_grad()
@pytest.mark.parametrize("clips", [1, 2])
@pytest.mark.parametrize("frames", [1, 3, 14])
def test_without_reference_it_is_svd(model: VividPose, clips: int, frames: int) -> None:
    """Faces and poses are given: their controllers have just begun and add nothing."""
    conditions = model.conditions(inputs(clips, frames, reference=False))
    latent, c_noise = noisy(clips, frames)
    expected = run_stock(model, latent, c_noise, conditions)
    assert conditions.identity
    assert conditions.pose is not None
    assert expected.std() > 0.1
    assert (model(latent, c_noise, conditions) - expected).abs().max() < TOLERANCE


@pytest.mark.parametrize("clips", [1, 2])
@pytest.mark.parametrize("frames", [1, 3, 14])
def test_with_masked_reference_tokens_it_is_svd(model: VividPose, clips: int, frames: int) -> None:
    """In training the reference's tokens are there, and masked."""
    model.train()
    try:
        conditions = model.conditions(inputs(clips, frames, reference=False))
        assert conditions.reference
        latent, c_noise = noisy(clips, frames)
        result = model(latent, c_noise, conditions).detach()
    finally:
        model.eval()
    with torch.no_grad():
        assert (result - run_stock(model, latent, c_noise, conditions)).abs().max() < TOLERANCE


@torch.no_grad()
def test_with_a_reference_it_is_not_svd(model: VividPose) -> None:
    conditions = model.conditions(inputs())
    latent, c_noise = noisy()
    assert (model(latent, c_noise, conditions) - run_stock(model, latent, c_noise, conditions)).abs().max() > 0.01


@torch.no_grad()
def test_without_anything_given_it_is_svd_without_conditions(model: VividPose) -> None:
    nothing = model.conditions(inputs(image=False, clip=False, reference=False, face=False, pose=False))
    assert not nothing.image_latent.any()
    assert not nothing.context.any()
    latent, c_noise = noisy()
    assert (model(latent, c_noise, nothing) - run_stock(model, latent, c_noise, nothing)).abs().max() < TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("temporal", [True, False])
@pytest.mark.parametrize("injection", ["conv_in", "latent"])
def test_every_configuration_starts_as_svd(temporal: bool, injection: str) -> None:
    config = tiny_config(identity={"temporal": temporal, "spatial": False}, pose={"injection": injection})
    model = as_svd(create(config, 1))
    conditions = model.conditions(inputs(reference=False))
    latent, c_noise = noisy()
    assert (model(latent, c_noise, conditions) - run_stock(model, latent, c_noise, conditions)).abs().max() < TOLERANCE


@torch.no_grad()
def test_the_features_are_what_enters_the_stock_self_attentions(model: VividPose) -> None:
    stock = UNet2DConditionModel(**as_data(model.config.reference_net)).eval()
    stock.load_state_dict(model.reference_net.state_dict(), strict=True)
    seen: dict[str, Tensor] = {}
    for name, module in stock.named_modules():
        if name.endswith(".norm1") and "transformer_blocks" in name:
            key = name.removesuffix(".norm1")
            module.register_forward_hook(lambda _, __, output, key=key: seen.__setitem__(key, output))
    clip = inputs(clips=2)
    stock(clip.reference_latent, 0, clip.clip_embedding)
    features = model.reference_net(clip.reference_latent, clip.clip_embedding)
    assert list(features) == list(seen)
    for name, tokens in features.items():
        assert (tokens - seen[name]).abs().max() < TOLERANCE, name
