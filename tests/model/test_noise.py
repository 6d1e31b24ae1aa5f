"""The noise of a video: a pure function of seed and frame."""

from __future__ import annotations

import itertools

import pytest
import torch

from model.noise import CONDITION_IMAGE, FrameNoise


def test_noise_is_a_pure_function_of_seed_and_frame() -> None:
    noise = FrameNoise((7, 2**64 - 1), (4, 5, 6))
    assert torch.equal(noise(12), torch.cat([FrameNoise((7,), (4, 5, 6))(12), FrameNoise((2**64 - 1,), (4, 5, 6))(12)]))
    different = [noise(frame) for frame in (0, 1, 2**32, CONDITION_IMAGE)]
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(different, 2))
    assert not torch.equal(noise(1)[0], noise(1)[1])


def test_noise_stays_what_it_was() -> None:
    """A seed in the record of a video made years ago gives that video's noise."""
    drawn = FrameNoise((7,), (5,))(3)[0].tolist()
    assert drawn == pytest.approx([-1.4470675, -0.9134207, -0.5155607, 1.8603299, -0.1543684], abs=1e-6)


def test_noise_is_gaussian_and_independent_from_frame_to_frame() -> None:
    seeds = [FrameNoise((seed,), (100, 100)) for seed in (0, 1)]
    noise = torch.stack([noise(frame).flatten() for noise in seeds for frame in range(10)])
    assert float(noise.mean()) == pytest.approx(0, abs=4 / noise.numel() ** 0.5)
    assert float(noise.std()) == pytest.approx(1, abs=4 / (2 * noise.numel()) ** 0.5)
    assert float((torch.corrcoef(noise) - torch.eye(20)).abs().max()) < 5 / noise.shape[1] ** 0.5


@pytest.mark.parametrize("seeds", [(-1,), (2**64,), (3, 1.5), ()])
def test_seeds_that_are_none_or_out_of_range_are_refused(seeds: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="seed"):
        FrameNoise(seeds, (2, 3, 4))
