"""Loss, guards, the first look and the plan."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from model.edm import SigmaDistribution
from tests.train.test_checkpoint import PlainEngine
from train.engine import ClippedAdamW
from train.guards import SkippedSteps, TrainingFailed, poisoned, refuse_unused
from train.log import DecileLosses
from train.masters import Masters
from train.memory import plan
from train.module import inside
from train.probe import probe
from train.settings import EngineSettings
from train.validate import motion_ratio


def test_the_inside_of_a_box_is_every_cell_it_touches():
    box = torch.tensor([[[1.2, 0.0, 3.0, 1.5]]])
    assert inside(box, (3, 4))[0, 0].int().tolist() == [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]


def test_the_inside_of_an_absent_box_is_nothing():
    assert not inside(torch.zeros(1, 1, 4), (3, 4)).any()


def test_a_finite_loss_is_left_as_it_is():
    x = torch.tensor(3.0, requires_grad=True)
    poisoned(x * x).backward()
    assert x.grad == 6


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_loss_that_is_not_finite_gives_a_gradient_that_is_not(value: float):
    x = torch.tensor(3.0, requires_grad=True)
    poisoned(x + value).backward()
    assert x.grad is not None
    assert not torch.isfinite(x.grad)


def test_without_zero_a_gradient_that_is_not_finite_changes_nothing():
    weights = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))]
    optimiser = ClippedAdamW(weights, clip=1.0, lr=0.1)
    weights[0].grad, weights[1].grad = torch.tensor([1.0, float("inf")]), torch.ones(2)
    optimiser.step()
    assert optimiser.overflow
    assert all(torch.equal(weight, torch.ones(2)) for weight in weights)
    assert not optimiser.state


def test_without_zero_gradients_are_clipped_by_their_common_norm():
    weights = [nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))]
    optimiser = ClippedAdamW(weights, clip=1.0, lr=0.1)
    weights[0].grad, weights[1].grad = torch.tensor([3.0]), torch.tensor([4.0])
    optimiser.step()
    assert [weight.grad.item() for weight in weights if weight.grad is not None] == pytest.approx([0.6, 0.8])


def test_skipped_steps_end_the_run_only_in_a_row_and_name_the_samples():
    skipped = SkippedSteps(limit=2)
    skipped.count(1, True, ["a"])
    skipped.count(2, False, [])
    skipped.count(3, True, ["b"])
    with pytest.raises(TrainingFailed, match=r"2 steps in a row, the last was step 4; samples .*: b, c\."):
        skipped.count(4, True, ["c", "b"])
    assert skipped.total == 3


def test_an_average_in_bf16_would_stand_still_and_ours_moves():
    weight = nn.Parameter(torch.ones(4))
    masters = Masters(PlainEngine(torch.optim.AdamW([weight])), {"w": weight}, 0, 1)
    masters.start_average()
    low = torch.ones(4, dtype=torch.bfloat16)
    weight.data.fill_(2.0)
    for _ in range(1000):
        masters.update_average(0.9999)
        low.lerp_(weight.detach().bfloat16(), 1e-4)
    assert torch.equal(low, torch.ones(4, dtype=torch.bfloat16))
    assert masters.average[0].tolist() == pytest.approx([2 - 0.9999**1000] * 4, rel=1e-4)


@pytest.mark.parametrize("fused", [False, True])
def test_moments_that_were_put_in_place_continue_as_if_they_had_grown_there(fused: bool):
    def stepped(weight: nn.Parameter, optimiser: torch.optim.Optimizer, value: float) -> None:
        weight.grad = torch.full((4,), value)
        optimiser.step()

    weights = [nn.Parameter(torch.ones(4)) for _ in range(2)]
    optimisers = [torch.optim.AdamW([weight], lr=0.1, fused=fused) for weight in weights]
    first, second = (Masters(PlainEngine(o), {"w": w}, 0, 1) for w, o in zip(weights, optimisers))
    stepped(weights[0], optimisers[0], 0.5)
    second.set_adam_step(first.adam_step())
    for kind in ("weight", "exp_avg", "exp_avg_sq"):
        second.tensor(kind, second.fragments[0]).copy_(first.tensor(kind, first.fragments[0]))
    for weight, optimiser in zip(weights, optimisers):
        stepped(weight, optimiser, -2.0)
    assert torch.equal(*weights)
    assert first.adam_step() == second.adam_step() == 2


class HalfUsed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, batch: torch.Tensor, everything: bool) -> torch.Tensor:
        assert everything
        return self.used(batch).square().mean()


def test_the_first_look_names_parameters_without_a_gradient_and_leaves_no_gradient():
    module = HalfUsed()
    looked = probe(module, dict(module.named_parameters()), torch.ones(2, 8))  # type: ignore[arg-type]
    assert looked.unused == ("unused.weight", "unused.bias")
    assert all(parameter.grad is None for parameter in module.parameters())
    with pytest.raises(TrainingFailed, match=r"2 trainable parameters .*unused\.bias, unused\.weight"):
        refuse_unused(looked.unused)


def test_the_first_look_counts_three_forward_passes_of_arithmetic():
    module = HalfUsed()
    looked = probe(module, dict(module.named_parameters()), torch.ones(2, 8))  # type: ignore[arg-type]
    assert looked.step_flops == 3 * 2 * 2 * 8 * 8


@pytest.mark.parametrize(("stage", "ranks", "bytes_each"), [(1, 1, 16), (1, 8, 5.5), (2, 8, 3.75), (3, 8, 2.0)])
def test_the_states_of_bf16_training_are_those_of_the_zero_paper(stage: int, ranks: int, bytes_each: float):
    engine = EngineSettings(zero_stage=stage, accumulation="bf16")  # type: ignore[arg-type]
    assert plan(engine, 1000, 0, 0, False, ranks, 0).total == pytest.approx(1000 * bytes_each)


def test_fp32_accumulation_is_four_bytes_more_and_a_sharded_average_half_a_byte():
    engine = EngineSettings(zero_stage=1, accumulation="fp32")
    assert plan(engine, 1000, 0, 0, True, 8, 0).total == pytest.approx(1000 * (5.5 + 4 + 0.5))


def test_a_loss_belongs_to_the_decile_of_its_noise_level():
    distribution = SigmaDistribution(0.0, 1.0)
    deciles = DecileLosses(distribution)
    for decile in range(10):
        deciles.add(float(distribution.quantile(torch.tensor(decile / 10 + 0.05))), float(decile))
    deciles.add(1.0, float("nan"))
    assert deciles.means() == {f"loss_decile/{decile}": float(decile) for decile in range(10)}


def test_the_motion_ratio_is_one_for_the_truth_and_zero_for_a_still_picture():
    truth = torch.randint(0, 255, (4, 6, 5, 3), generator=torch.Generator().manual_seed(0)).numpy().astype("uint8")
    assert motion_ratio(truth, truth) == 1
    assert motion_ratio(truth[:1].repeat(4, 0), truth) == 0
    assert motion_ratio(truth, truth[:1].repeat(4, 0)) is None
