"""The equations of EDM in SVD's form: the identities that public SVD trainers get wrong."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model import edm

SIGMAS = torch.tensor([0.002, 0.02, 0.3, 1.0, 2.0, 30.0, 700.0])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clips(dtype: torch.dtype, batch: int = len(SIGMAS)) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Network output, clean latents and noise, (B, 3, 4, 5, 6)."""
    F, x0, noise = torch.randn(3, batch, 3, 4, 5, 6, generator=generator(), dtype=torch.float64).to(dtype)
    return F, x0, noise


@given(st.floats(1e-3, 1e4))
def test_weight_times_c_out_squared_is_one(sigma: float) -> None:
    level = torch.tensor(sigma, dtype=torch.float64)
    assert float(edm.weight(level) * edm.c_out(level) ** 2) == pytest.approx(1, rel=1e-12)


@given(st.floats(1e-3, 1e4))
def test_c_in_scales_the_noisy_latent_to_unit_variance(sigma: float) -> None:
    level = torch.tensor(sigma, dtype=torch.float64)
    assert float(edm.c_in(level) ** 2 * (1 + level**2)) == pytest.approx(1, rel=1e-12)


def test_the_v_form_is_the_weighted_x0_form() -> None:
    F, x0, noise = clips(torch.float64)
    sigma = SIGMAS.double()
    x = edm.noised(x0, noise, sigma)
    weighted = edm.weight(sigma) * (edm.denoised(F, x, sigma) - x0).square().flatten(1).mean(1)
    # The x0 form itself loses digits: at sigma 0.002 its weight multiplies the rounding error of D by 500.
    assert torch.allclose(edm.loss(F, x0, noise, sigma), weighted, rtol=1e-11)


def test_v_target_is_the_residual_that_c_out_multiplies() -> None:
    _, x0, noise = clips(torch.float64)
    sigma = SIGMAS.double()
    x = edm.noised(x0, noise, sigma)
    assert torch.allclose(edm.denoised(edm.v_target(x0, noise, sigma), x, sigma), x0, atol=1e-12)


def test_fp32_keeps_its_digits_from_the_smallest_to_the_largest_sigma() -> None:
    F, x0, noise = clips(torch.float32)
    exact = edm.loss(F.double(), x0.double(), noise.double(), SIGMAS.double())
    assert torch.allclose(edm.loss(F, x0, noise, SIGMAS).double(), exact, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_input_is_computed_in_fp32(dtype: torch.dtype) -> None:
    F, x0, noise = clips(dtype)
    sigma = SIGMAS.to(dtype)
    for result in (edm.noised(x0, noise, sigma), edm.v_target(x0, noise, sigma), edm.loss(F, x0, noise, sigma)):
        assert result.dtype == torch.float32
        assert torch.isfinite(result).all()
    assert torch.equal(edm.loss(F, x0, noise, sigma), edm.loss(F.float(), x0.float(), noise.float(), sigma.float()))


def test_autocast_does_not_lower_the_precision() -> None:
    F, x0, noise = clips(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        lowered = edm.loss(F, x0, noise, SIGMAS), edm.noised(x0, noise, SIGMAS), edm.scaled(x0, SIGMAS)
    assert all(t.dtype == torch.float32 for t in lowered)
    assert torch.equal(lowered[0], edm.loss(F, x0, noise, SIGMAS))


def test_a_float_sigma_is_that_level_for_every_sample() -> None:
    F, x0, noise = clips(torch.float32)
    assert torch.equal(edm.loss(F, x0, noise, 0.7), edm.loss(F, x0, noise, torch.full((len(F),), 0.7)))
    assert torch.equal(edm.c_noise(0.7), edm.c_noise(torch.tensor(0.7)))


def test_each_sample_has_its_own_loss() -> None:
    F, x0, noise = clips(torch.float32)
    together = edm.loss(F, x0, noise, SIGMAS)
    alone = torch.cat([edm.loss(F[i : i + 1], x0[i : i + 1], noise[i : i + 1], SIGMAS[i : i + 1]) for i in range(7)])
    assert torch.equal(together, alone)


def test_c_noise_range() -> None:
    assert edm.c_noise(SIGMAS)[[0, -1]].tolist() == pytest.approx([-1.5537, 1.6378], abs=1e-4)


def test_a_weight_map_multiplies_the_error_where_it_is_set() -> None:
    F, x0, noise = clips(torch.float64)
    sigma = SIGMAS.double()
    weight_map = torch.ones(len(F), 3, 1, 5, 6, dtype=torch.float64)
    assert torch.equal(edm.loss(F, x0, noise, sigma, weight_map), edm.loss(F, x0, noise, sigma))
    weight_map[:, 1, :, 2:4, 1:3] = 10
    error = (F - edm.v_target(x0, noise, sigma)) ** 2
    error[:, 1, :, 2:4, 1:3] *= 10
    assert torch.allclose(edm.loss(F, x0, noise, sigma, weight_map), error.flatten(1).mean(1), rtol=1e-12)


def test_wrong_shapes_are_named_instead_of_broadcast() -> None:
    F, x0, noise = clips(torch.float32)
    with pytest.raises(ValueError, match=r"sigma: expected a level per sample, \(7,\)"):
        edm.noised(x0, noise, SIGMAS[:, None, None, None, None])
    with pytest.raises(ValueError, match=r"sigma: expected a level per sample"):
        edm.noised(x0, noise, SIGMAS[0])
    with pytest.raises(ValueError, match="noise: expected"):
        edm.v_target(x0, noise[:, :1], SIGMAS)
    with pytest.raises(ValueError, match="F: expected"):
        edm.loss(F[:, :, :1], x0, noise, SIGMAS)
    with pytest.raises(ValueError, match="weight_map"):
        edm.loss(F, x0, noise, SIGMAS, torch.ones(7, 2, 1, 5, 6))
    with pytest.raises(ValueError, match="weight_map"):
        edm.loss(F, x0, noise, SIGMAS, torch.ones(5, 6))


@pytest.mark.parametrize("distribution", [edm.SigmaDistribution(), edm.CONDITION_NOISE])
def test_drawn_sigmas_have_the_configured_statistics(distribution: edm.SigmaDistribution) -> None:
    count = 20_000
    drawn = distribution.draw([generator()] * count)
    assert drawn.shape == (count,)
    assert drawn.dtype == torch.float32
    log = drawn.double().log()
    # Four standard errors.
    assert float(log.mean()) == pytest.approx(distribution.mean, abs=4 * distribution.std / math.sqrt(count))
    assert float(log.std()) == pytest.approx(distribution.std, abs=4 * distribution.std / math.sqrt(2 * count))
    deciles = (10 * distribution.cdf(drawn)).long().clamp(max=9).bincount(minlength=10)
    assert torch.allclose(deciles / count, torch.tensor(0.1), atol=4 * math.sqrt(0.09 / count))


def test_defaults_are_those_of_svd() -> None:
    assert float(edm.SigmaDistribution().quantile(0.5)) == pytest.approx(math.exp(0.7), rel=1e-6)
    assert float(edm.SigmaDistribution().quantile(0.99)) == pytest.approx(83.3, rel=0.01)
    assert float(edm.CONDITION_NOISE.quantile(0.5)) == pytest.approx(math.exp(-3), rel=1e-6)


@given(st.floats(0.001, 0.999), st.floats(-3, 3), st.floats(0.1, 3))
def test_cdf_undoes_quantile(share: float, mean: float, std: float) -> None:
    distribution = edm.SigmaDistribution(mean, std)
    level = distribution.quantile(torch.tensor(share, dtype=torch.float64))
    assert float(distribution.cdf(level)) == pytest.approx(share, abs=1e-9)


def test_what_a_sample_draws_does_not_depend_on_its_batch() -> None:
    distribution = edm.SigmaDistribution()
    together = distribution.draw([generator(3), generator(5)])
    assert torch.equal(together, torch.cat([distribution.draw([generator(3)]), distribution.draw([generator(5)])]))
    assert together[0] != together[1]


def test_a_distribution_without_width_is_refused() -> None:
    with pytest.raises(ValueError, match="standard deviation"):
        edm.SigmaDistribution(std=0)
