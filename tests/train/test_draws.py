"""What chance decides about a sample depends on its number and the seed, and on nothing else."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from train.draws import Draws, draw, kept_conditions
from train.settings import DiffusionSettings

LATENT, PICTURE = (2, 4, 3, 2), (3, 12, 8)


def of(draws: Draws, number: int) -> list[torch.Tensor]:
    plain = [getattr(draws, f.name)[number] for f in fields(Draws) if f.name != "kept"]
    return plain + [getattr(draws.kept, f.name)[number] for f in fields(draws.kept)]


@given(st.lists(st.integers(0, 2**40), min_size=2, max_size=4), st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_a_sample_draws_the_same_in_any_batch(index: list[int], seed: int):
    together = draw(DiffusionSettings(), seed, index, LATENT, PICTURE)
    for number, one in enumerate(index):
        alone = draw(DiffusionSettings(), seed, [one], LATENT, PICTURE)
        assert all(torch.equal(a, b) for a, b in zip(of(alone, 0), of(together, number)))


def test_another_sample_and_another_seed_draw_other_numbers():
    noise = [draw(DiffusionSettings(), seed, [one], LATENT, PICTURE).noise for seed, one in ((0, 0), (0, 1), (1, 0))]
    assert not any(torch.equal(noise[a], noise[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


def test_global_random_numbers_have_no_part_in_it():
    before = torch.get_rng_state()
    draw(DiffusionSettings(), 0, [0], LATENT, PICTURE)
    assert torch.equal(torch.get_rng_state(), before)


def test_conditions_are_dropped_in_the_shares_that_were_asked_for():
    wanted = DiffusionSettings(drop=0.2, drop_face=0.3, drop_pose=0.1, drop_reference=0.4)
    kept = kept_conditions(wanted, 0, range(4000))
    dropped = {f.name: 1 - getattr(kept, f.name).double().mean().item() for f in fields(kept)}
    wanted_shares = {"image": 0.4, "clip": 0.4, "reference": 0.4, "face": 0.3, "pose": 0.1}
    assert dropped == pytest.approx(wanted_shares, abs=0.03)
    both = (~kept.image & ~kept.clip).double().mean().item()
    assert both == pytest.approx(0.2, abs=0.03)


def test_everything_can_be_dropped_at_once():
    kept = kept_conditions(DiffusionSettings(drop_all=1.0), 0, range(5))
    assert not any(getattr(kept, f.name).any() for f in fields(kept))


def test_noise_levels_follow_their_distribution():
    draws = draw(DiffusionSettings(sigma_mean=1.0, sigma_std=0.5), 3, range(2000), (1, 1, 1, 1), (1, 1, 1))
    assert draws.sigma.log().mean().item() == pytest.approx(1.0, abs=0.05)
    assert draws.sigma.log().std().item() == pytest.approx(0.5, abs=0.05)
    assert draws.noise_aug.log().mean().item() == pytest.approx(-3.0, abs=0.05)
