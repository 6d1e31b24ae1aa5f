"""The work of the full size, counted on the meta device: 14 frames of 512x768."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from model.conditions import ClipInputs, Given
from model.config import load_config
from model.vividpose import VividPose

pytestmark = pytest.mark.slow
FRAMES, HEIGHT, WIDTH = 14, 768, 512


def empty(*shape: int) -> Tensor:
    return torch.empty(*shape, device="meta")


@pytest.fixture(scope="module")
def model() -> VividPose:
    with torch.device("meta"):
        return VividPose(load_config("vividpose")).to("meta").eval()


@pytest.fixture(scope="module")
def clip() -> ClipInputs:
    latent, all_given = (1, 4, HEIGHT // 8, WIDTH // 8), torch.ones(1, dtype=torch.bool)
    pictures = (1, FRAMES, 3, HEIGHT, WIDTH)
    return ClipInputs(
        *(empty(*shape) for shape in (latent, latent, (1, 1, 1024), (1, 512), pictures, pictures, (1,), (1,), (1,))),
        given=Given(*[all_given] * 5),
    )


@torch.no_grad()
def teraflop(work: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / 1e12


@torch.no_grad()
def test_one_forward_is_that_of_svd_with_reference_and_identity(model: VividPose, clip: ClipInputs) -> None:
    """27.9 for SVD alone; 32.1 with both, of which the single-token attentions without softmax save a little."""
    conditions = model.conditions(clip, check=False)
    latent = empty(1, FRAMES, 4, HEIGHT // 8, WIDTH // 8)
    assert teraflop(lambda: model(latent, empty(1), conditions)) == pytest.approx(31.7, abs=0.1)


@torch.no_grad()
def test_the_unconditional_half_does_no_work_for_what_it_lacks(model: VividPose, clip: ClipInputs) -> None:
    conditions = model.conditions(clip, check=False)
    both = conditions.unconditional().stacked(conditions)
    latent = empty(2, FRAMES, 4, HEIGHT // 8, WIDTH // 8)
    assert teraflop(lambda: model(latent, empty(2), both)) == pytest.approx(59.6, abs=0.1)


@torch.no_grad()
def test_the_conditions_cost_little(model: VividPose, clip: ClipInputs) -> None:
    """The ReferenceNet once 1.2, both pose encoders 0.85."""
    assert teraflop(lambda: model.conditions(clip, check=False)) < 2.2
