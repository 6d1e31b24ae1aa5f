"""Draws are a function of a name, on every machine and for every number of workers."""

from __future__ import annotations

import numpy as np
import torch

from train.stream.rng import named_permutation, sample_generator, sample_rng


def test_equal_names_give_equal_draws_and_different_names_different_ones():
    draws = {name: sample_rng(*name).random(4).tobytes() for name in [(1, 2, "clip"), (2, 1, "clip"), (1, 2, "noise")]}
    assert len(set(draws.values())) == 3
    assert sample_rng(1, 2, "clip").random(4).tobytes() == draws[1, 2, "clip"]


def test_draws_of_neighbouring_samples_are_not_correlated():
    drawn = np.array([sample_rng(0, index, "x").normal(size=64) for index in range(400)])
    correlation = np.corrcoef(drawn[:-1].ravel(), drawn[1:].ravel())[0, 1]
    assert abs(correlation) < 0.03


def test_a_permutation_is_one_and_stays_what_it_was_in_the_first_release():
    order = named_permutation(1000, "shards", 0, "x", 3)
    assert sorted(order) == list(range(1000))
    assert named_permutation(8, "shards", 0, "x", 0).tolist() == [7, 4, 2, 3, 6, 1, 5, 0]
    assert named_permutation(0, "x").tolist() == []


def test_torch_generators_repeat_and_differ_between_samples():
    first, again, other = (torch.randn(8, generator=sample_generator(5, index, "noise")) for index in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
