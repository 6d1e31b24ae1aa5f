"""Bad input is named, before it becomes a picture of noise."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from model.input_check import BadInput, check_size
from model.vividpose import VividPose
from tests.model.clips import busy_model, inputs, noisy


@pytest.fixture(scope="module")
def model() -> VividPose:
    return busy_model().eval()


FLOATS = [
    "reference_latent",
    "image_latent",
    "clip_embedding",
    "face_embedding",
    "skeleton",
    "rendering",
    "fps",
    "motion_bucket",
    "noise_aug",
]


@pytest.mark.parametrize("field", FLOATS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_condition_that_is_not_finite_is_named(model: VividPose, field: str, value: float) -> None:
    clip = inputs(clips=2)
    tensor = getattr(clip, field).clone()
    tensor[1].flatten()[-1:] = value
    with pytest.raises(BadInput, match=f"{field} holds values that are not finite"):
        model.conditions(dataclasses.replace(clip, **{field: tensor}))


@pytest.mark.parametrize("field", FLOATS)
def test_a_wrong_shape_is_named(model: VividPose, field: str) -> None:
    clip = inputs()
    wrong = getattr(clip, field)[..., :0]
    with pytest.raises(BadInput, match=f"{field} has the shape|width and height"):
        model.conditions(dataclasses.replace(clip, **{field: wrong}))


def test_sizes_that_do_not_divide(model: VividPose) -> None:
    clip = inputs()
    narrow = {name: getattr(clip, name)[..., :24] for name in ("skeleton", "rendering")}
    with pytest.raises(BadInput, match="multiples of 16 pixels, not 24x48"):
        model.conditions(dataclasses.replace(clip, **narrow))
    with pytest.raises(BadInput, match="multiples of 16 pixels, not 0x48"):
        check_size(0, 48, model.config)


def test_a_latent_of_such_a_size(model: VividPose) -> None:
    with torch.no_grad():
        conditions = model.conditions(inputs())
    latent, c_noise = noisy()
    with pytest.raises(BadInput, match="of a picture of 24x48 pixels, whose sides must be multiples of 16"):
        model(latent[..., :6], c_noise, conditions)


@pytest.mark.parametrize(
    ("clips", "frames", "message"), [(2, 3, "c_noise|image_latent"), (1, 4, "the condition pose has the shape")]
)
def test_conditions_of_another_clip(model: VividPose, clips: int, frames: int, message: str) -> None:
    with torch.no_grad():
        conditions = model.conditions(inputs())
    with pytest.raises(BadInput, match=message):
        model(*noisy(clips, frames), conditions)


def test_a_noise_level_for_each_clip(model: VividPose) -> None:
    with torch.no_grad():
        conditions = model.conditions(inputs())
    with pytest.raises(BadInput, match=r"c_noise has the shape \(\), expected \(1,\)"):
        model(noisy()[0], torch.tensor(0.1), conditions)


def test_a_mask_that_is_no_mask(model: VividPose) -> None:
    clip = inputs()
    given = dataclasses.replace(clip.given, face=torch.ones(1))
    with pytest.raises(BadInput, match=r"given of face_embedding must be bool \(1,\), not torch.float32"):
        model.conditions(dataclasses.replace(clip, given=given))
