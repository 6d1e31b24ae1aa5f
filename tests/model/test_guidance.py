"""Classifier-free guidance: the scale over a window's frames, both halves together or in turn, the fast mode."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from model.guidance import Guidance, guided

X = torch.randn(2, 5, 4, 3, 3, generator=torch.Generator().manual_seed(0))


class Predictor:
    """D of two constants, and the halves that were asked for."""

    def __init__(self, given: float = 3.0, without: float = 1.0) -> None:
        self.values = {True: given, False: without}
        self.asked: list[tuple[bool, ...]] = []

    def __call__(self, x: Tensor, sigma: float, frames: range, conditional: tuple[bool, ...]) -> Tensor:
        self.asked.append(conditional)
        return torch.stack([torch.full_like(x, self.values[half]) for half in conditional])


def test_the_scale_rises_linearly_over_the_frames_of_the_window() -> None:
    result = guided(Predictor(), Guidance())(X, 1.0, range(5))
    for frame, scale in enumerate([1.0, 1.5, 2.0, 2.5, 3.0]):
        assert torch.equal(result[:, frame], torch.full_like(X[:, 0], 1 + scale * (3 - 1)))


def test_each_window_has_its_own_ramp_wherever_it_lies() -> None:
    denoise = guided(Predictor(), Guidance())
    assert torch.equal(denoise(X, 1.0, range(5)), denoise(X, 1.0, range(1000, 1005)))


def test_a_short_window_has_the_whole_ramp() -> None:
    assert Guidance(1.0, 2.5).scales(2).tolist() == [1.0, 2.5]
    assert Guidance().scales(1).tolist() == [1.0]


def test_batched_and_in_turn_are_the_same() -> None:
    batched, sequential = Predictor(), Predictor()
    assert torch.equal(
        guided(batched, Guidance(), batched=True)(X, 1.0, range(5)),
        guided(sequential, Guidance(), batched=False)(X, 1.0, range(5)),
    )
    assert batched.asked == [(False, True)]
    assert sequential.asked == [(False,), (True,)]


def test_without_guidance_the_unconditional_half_is_not_computed() -> None:
    predictor = Predictor()
    assert torch.equal(guided(predictor, Guidance(1.0, 1.0))(X, 1.0, range(5)), torch.full_like(X, 3.0))
    assert predictor.asked == [(True,)]


def test_outside_the_interval_the_unconditional_half_is_not_computed() -> None:
    predictor = Predictor()
    denoise = guided(predictor, Guidance(2.0, 2.0, sigma_low=0.3, sigma_high=5.0))
    values = [float(denoise(X, sigma, range(5))[0, 0, 0, 0, 0]) for sigma in (700.0, 5.0, 1.0, 0.3)]
    assert values == [3.0, 5.0, 5.0, 3.0]
    assert predictor.asked == [(True,), (False, True), (False, True), (True,)]


def test_guidance_is_combined_in_fp32() -> None:
    def half_precision(x: Tensor, sigma: float, frames: range, conditional: tuple[bool, ...]) -> Tensor:
        return Predictor(1.0009765625, 1.0)(x, sigma, frames, conditional).half()

    result = guided(half_precision, Guidance(1.3, 1.3))(X, 1.0, range(5))
    assert result.dtype == torch.float32
    assert float(result[0, 0, 0, 0, 0]) == pytest.approx(1 + 1.3 * 0.0009765625, rel=1e-7)


@pytest.mark.parametrize("values", [(float("nan"), 3.0), (1.0, float("inf")), (1.0, 3.0, 5.0, 5.0), (1.0, 3.0, -1.0)])
def test_scales_and_intervals_that_make_no_sense_are_refused(values: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="guidance"):
        Guidance(*values)
