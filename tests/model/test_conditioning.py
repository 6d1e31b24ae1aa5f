"""Each condition does what it is there for, and one that is not given does nothing."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from model.conditions import ClipInputs, Conditions
from model.folder import create
from model.vividpose import VividPose
from tests.model.clips import CONDITIONS, busy_model, inputs, noisy, rows, tiny_config

FIELDS = {
    "image": ("image_latent",),
    "clip": ("clip_embedding",),
    "reference": ("reference_latent",),
    "face": ("face_embedding",),
    "pose": ("skeleton", "rendering"),
}


@pytest.fixture(scope="module")
def model() -> VividPose:
    return busy_model().eval()


@torch.no_grad()
def run(model: VividPose, clip: ClipInputs) -> Tensor:
    return model(*noisy(*clip.skeleton.shape[:2]), model.conditions(clip))


@torch.no_grad()
@pytest.mark.parametrize("name", CONDITIONS)
@pytest.mark.parametrize("filling", [0.0, 5.0, float("nan")])
def test_a_condition_that_is_not_given_has_no_influence(model: VividPose, name: str, filling: float) -> None:
    clip = inputs(**{name: False})
    changed = dataclasses.replace(
        clip, **{field: torch.full_like(getattr(clip, field), filling) for field in FIELDS[name]}
    )
    assert torch.equal(run(model, clip), run(model, changed))


@pytest.mark.parametrize("name", CONDITIONS)
def test_the_same_in_training(model: VividPose, name: str) -> None:
    clip = inputs(**{name: False})
    changed = dataclasses.replace(
        clip, **{field: torch.full_like(getattr(clip, field), float("nan")) for field in FIELDS[name]}
    )
    model.train()
    try:
        latent, c_noise = noisy()
        outputs = [model(latent, c_noise, model.conditions(each)).detach() for each in (clip, changed)]
    finally:
        model.eval()
    assert torch.equal(*outputs)
    assert (outputs[0] - run(model, clip)).abs().max() < 1e-5


@pytest.mark.parametrize("name", CONDITIONS)
@pytest.mark.parametrize("training", [False, True])
def test_a_mixed_batch_equals_its_clips_alone(model: VividPose, name: str, training: bool) -> None:
    clip = inputs(clips=3, **{name: [True, False, True]})
    latent, c_noise = noisy(clips=3)
    model.train(training)
    try:
        with torch.set_grad_enabled(training):
            together = model(latent, c_noise, model.conditions(clip)).detach()
        model.eval()
        with torch.no_grad():
            for index in range(3):
                one = slice(index, index + 1)
                alone = model(latent[one], c_noise[one], model.conditions(rows(clip, one)))
                assert (together[one] - alone).abs().max() < 1e-5
    finally:
        model.eval()


@torch.no_grad()
def test_both_halves_of_guidance_in_one_forward(model: VividPose) -> None:
    latent, c_noise = noisy(clips=2)
    full = model.conditions(inputs(clips=2))
    nothing = full.unconditional()
    both = model(latent.repeat(2, 1, 1, 1, 1), c_noise.repeat(2), nothing.stacked(full))
    expected = torch.cat([model(latent, c_noise, nothing), model(latent, c_noise, full)])
    assert (both - expected).abs().max() < 1e-5


@torch.no_grad()
def test_the_unconditional_half_is_a_clip_with_only_its_pose(model: VividPose) -> None:
    latent, c_noise = noisy()
    nothing = model.conditions(inputs()).unconditional()
    only_pose = model.conditions(inputs(image=False, clip=False, reference=False, face=False))
    assert torch.equal(model(latent, c_noise, nothing), model(latent, c_noise, only_pose))


def test_the_pose_is_shared_not_copied(model: VividPose) -> None:
    with torch.no_grad():
        full = model.conditions(inputs())
    assert full.unconditional().pose is full.pose


@torch.no_grad()
def test_pose_features_window_by_window(model: VividPose) -> None:
    clip = inputs(frames=5)
    whole = model.conditions(clip)
    parts = [
        model.pose_features(clip.skeleton[:, part], clip.rendering[:, part]) for part in (slice(0, 2), slice(2, 5))
    ]
    assert whole.pose is not None
    assert torch.allclose(whole.pose, torch.cat(parts, dim=1), atol=1e-6)
    window = whole.frames([0, 3, 4]).pose
    assert window is not None
    assert torch.equal(window, whole.pose[:, [0, 3, 4]])


@torch.no_grad()
def test_converted_conditions_keep_their_ids_exact(model: VividPose) -> None:
    half = model.conditions(inputs()).to(dtype=torch.bfloat16)
    assert half.context.dtype == torch.bfloat16
    assert next(iter(half.reference.values()))[0].dtype == torch.bfloat16
    assert half.added_ids.dtype == torch.float32
    assert half.added_ids[0].tolist() == pytest.approx([6.0, 127.0, 0.02])


@torch.no_grad()
def test_bf16_is_near_fp32() -> None:
    model = busy_model().eval()
    clip, (latent, c_noise) = inputs(), noisy()
    exact = model(latent, c_noise, model.conditions(clip))
    half = model.to(torch.bfloat16)
    rough = half(latent, c_noise, half.conditions(clip))
    assert rough.dtype == torch.bfloat16
    assert (rough.float() - exact).std() < 0.05 * exact.std()


@torch.no_grad()
def test_autocast_is_near_fp32(model: VividPose) -> None:
    clip, (latent, c_noise) = inputs(), noisy()
    exact = model(latent, c_noise, model.conditions(clip))
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(latent, c_noise, model.conditions(clip))
    assert (rough.float() - exact).std() < 0.05 * exact.std()


def contrasting() -> ClipInputs:
    """Two clips whose conditions all differ."""
    return inputs(clips=2, frames=2, seed=3)


@pytest.fixture(scope="module")
def trained() -> VividPose:
    """A few steps on two clips with opposite targets, from the start at which the adapters add nothing."""
    model = create(tiny_config(), 0).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    clip, (latent, c_noise) = contrasting(), noisy(2, 2)
    same = latent[:1].expand_as(latent)
    target = torch.stack([torch.ones_like(latent[0]), -torch.ones_like(latent[0])])
    for _ in range(6):
        optimizer.zero_grad()
        (model(same, c_noise[:1].expand(2), model.conditions(clip)) - target).square().mean().backward()
        optimizer.step()
    return model.eval()


@torch.no_grad()
@pytest.mark.parametrize(
    "field",
    ["reference_latent", "face_embedding", "skeleton", "rendering", "image_latent", "clip_embedding"],
)
def test_after_a_few_steps_changing_only_one_condition_changes_the_output(trained: VividPose, field: str) -> None:
    clip, (latent, c_noise) = contrasting(), noisy(2, 2)
    one = rows(clip, slice(0, 1))
    other = dataclasses.replace(one, **{field: getattr(clip, field)[1:]})

    def output(each: ClipInputs) -> Tensor:
        return trained(latent[:1], c_noise[:1], trained.conditions(each))

    before = output(one)
    assert (output(other) - before).abs().max() > 1e-3 * before.std()


@torch.no_grad()
@pytest.mark.parametrize("field", ["face_embedding", "skeleton", "rendering"])
def test_before_training_the_adapters_say_nothing(field: str) -> None:
    model = create(tiny_config(), 0).eval()
    clip = contrasting()
    one = rows(clip, slice(0, 1))
    other = dataclasses.replace(one, **{field: getattr(clip, field)[1:]})
    assert torch.equal(run(model, one), run(model, other))


@torch.no_grad()
def test_nothing_is_kept_between_calls(model: VividPose) -> None:
    """Validation cannot touch training: another clip in between changes nothing."""
    latent, c_noise = noisy()
    conditions: Conditions = model.conditions(inputs())
    before = model(latent, c_noise, conditions)
    run(model, inputs(clips=2, frames=5, seed=9))
    assert torch.equal(model(latent, c_noise, conditions), before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
