"""Who learns: every trainable parameter, no other, whatever is given, under every way of running the blocks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from model.conditions import ClipInputs
from model.execution import POLICIES
from model.vividpose import VividPose, group_of
from tests.model.clips import busy_model, inputs, noisy, tiny_config


def gradients(model: VividPose, clip: ClipInputs) -> dict[str, Tensor]:
    model.train()
    model.zero_grad()
    latent, c_noise = noisy(*clip.skeleton.shape[:2])
    model(latent, c_noise, model.conditions(clip)).square().mean().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.fixture(scope="module")
def model() -> VividPose:
    return busy_model()


def trainable(model: VividPose) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("policy", POLICIES)
def test_gradients_reach_every_trainable_parameter_and_no_other(model: VividPose, policy: str) -> None:
    model.set_checkpointing(policy)  # type: ignore[arg-type]
    found = gradients(model, inputs())
    assert set(found) == trainable(model)
    assert [name for name, gradient in found.items() if not gradient.any()] == []


@pytest.mark.parametrize("policy", ["feed_forward", "full"])
def test_recomputing_changes_no_gradient(model: VividPose, policy: str) -> None:
    clip = inputs(clips=2, reference=[True, False])
    model.set_checkpointing("none")
    expected = gradients(model, clip)
    model.set_checkpointing(policy)  # type: ignore[arg-type]
    for name, gradient in gradients(model, clip).items():
        assert torch.allclose(gradient, expected[name], rtol=1e-5, atol=1e-8), name


@pytest.mark.parametrize("missing", ["image", "clip", "reference", "face", "pose"])
def test_what_is_not_given_still_has_a_gradient(model: VividPose, missing: str) -> None:
    """Zero, but there: processes whose clips lack different things reduce the same list of gradients."""
    model.set_checkpointing("none")
    found = gradients(model, inputs(**{missing: False}))
    assert set(found) == trainable(model)
    parts = {"reference": "reference_net", "face": "identity", "pose": "pose"}
    for name, gradient in found.items():
        if group_of(name) == parts.get(missing):
            assert not gradient.any(), name


@pytest.mark.parametrize(
    "identity", [{"temporal": False}, {"spatial": False}, {"temporal": False, "spatial": False}], ids=str
)
@pytest.mark.parametrize("injection", ["conv_in", "latent"])
def test_every_configuration_trains_exactly_what_it_uses(identity: dict[str, bool], injection: str) -> None:
    model = busy_model(tiny_config(identity=identity, pose={"injection": injection}))
    found = gradients(model, inputs(frames=2))
    assert set(found) == trainable(model)
    assert [name for name, gradient in found.items() if not gradient.any()] == []


def test_groups_hold_each_trainable_parameter_once(model: VividPose) -> None:
    parameters = [parameter for group in model.groups().values() for parameter in group]
    assert len({id(parameter) for parameter in parameters}) == len(parameters) == len(trainable(model))
    assert all(model.groups().values())


def test_temporal_layers_are_what_svd_added(model: VividPose) -> None:
    """What is left over has the names of an image model's blocks."""
    temporal = [name for name in trainable(model) if group_of(name) == "unet_temporal"]
    assert {name.split(".")[5 if "mid" not in name else 4] for name in temporal if ".resnets." in name} == {
        "temporal_res_block",
        "time_mixer",
    }
    assert group_of("unet.down_blocks.0.resnets.0.spatial_res_block.conv1.weight") == "unet_spatial"
    assert group_of("unet.conv_in.weight") == "unet_spatial"


@pytest.mark.slow
def test_compiled_blocks_give_the_same_gradients(model: VividPose) -> None:
    """With the compiler's front end; what it generates for a device is not ours to test."""
    clip = inputs(frames=2)
    model.set_checkpointing("feed_forward")
    expected = gradients(model, clip)
    plain = model.execution
    torch._dynamo.reset()
    model.compile_blocks(backend="eager")
    try:
        found = gradients(model, clip)
    finally:
        model.execution = plain
    for name, gradient in found.items():
        assert torch.allclose(gradient, expected[name], rtol=1e-5, atol=1e-8), name


def test_an_unknown_policy_is_named(model: VividPose) -> None:
    with pytest.raises(ValueError, match=r"'some'; there are none, feed_forward, full"):
        model.set_checkpointing("some")  # type: ignore[arg-type]
