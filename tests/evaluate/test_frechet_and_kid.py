"""Frechet and kernel distances: closed forms, SciPy, torchmetrics; few samples; statistics gathered in parts."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import poly_mmd

from pipelines.evaluate.metrics.frechet import (
    Gaussian,
    TooFew,
    frechet_distance,
    frechet_of_draw,
    frechet_of_features,
)
from pipelines.evaluate.metrics.kid import kid


def features(count: int, width: int, seed: int, shift: float = 0) -> NDArray[np.float32]:
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(width, width)) / width**0.5
    return (generator.normal(size=(count, width)) @ mixing + shift).astype(np.float32)


def by_scipy(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """The formula of pytorch-fid with SciPy's root, offset and all, whatever SciPy's version."""
    (m1, s1), (m2, s2) = ((x.mean(0, dtype=float), np.cov(x.astype(float), rowvar=False)) for x in (a, b))
    root = scipy.linalg.sqrtm(s1 @ s2)
    if not np.isfinite(root).all():
        offset = 1e-6 * np.eye(len(s1))
        root = scipy.linalg.sqrtm((s1 + offset) @ (s2 + offset))
    return float((m1 - m2) @ (m1 - m2) + np.trace(s1) + np.trace(s2) - 2 * np.trace(np.real(root)))


class RandomNet(nn.Module):
    """A feature net with random weights: pictures (N, 3, 8, 8) to 48 numbers."""

    num_features = 48

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Conv2d(3, 48, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, pictures: Tensor) -> Tensor:
        return self.net(pictures.to(self.net[0].weight.dtype) / 255)


@pytest.fixture(scope="module")
def pictures() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    a = torch.randint(0, 256, (90, 3, 8, 8), generator=generator, dtype=torch.uint8)
    return a, (torch.randint(0, 200, (80, 3, 8, 8), generator=generator)).to(torch.uint8)


def test_of_diagonal_covariances_it_is_the_closed_form() -> None:
    width = 5
    first, second = np.arange(1.0, 6.0), np.arange(2.0, 12.0, 2.0)
    a = Gaussian(11, np.zeros(width), np.diag(first) * 10)
    b = Gaussian(21, np.ones(width), np.diag(second) * 20)
    expected = width + ((np.sqrt(first) - np.sqrt(second)) ** 2).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("count", [400, 65, 20, 2])
def test_it_is_scipys_also_with_fewer_samples_than_dimensions(count: int) -> None:
    a, b = features(count, 64, 0), features(count + 5, 64, 1, 0.3)
    expected = by_scipy(a, b)
    assert frechet_distance(Gaussian.of(a), Gaussian.of(b)) == pytest.approx(expected, rel=1e-4)
    assert frechet_of_features(a, b) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("counts", [(90, 80), (30, 20)])
def test_it_is_torchmetrics_on_a_random_net(pictures: tuple[Tensor, Tensor], counts: tuple[int, int]) -> None:
    a, b = pictures[0][: counts[0]], pictures[1][: counts[1]]
    net = RandomNet()
    reference = FrechetInceptionDistance(feature=net).set_dtype(torch.float64)
    reference.update(a, real=True)
    reference.update(b, real=False)
    with torch.no_grad():
        ours = frechet_of_features(net(a).numpy(), net(b).numpy())
    assert ours == pytest.approx(float(reference.compute()), rel=1e-4)


@pytest.mark.parametrize(("count", "rank"), [(200, 64), (200, 30), (40, 64)])
def test_the_quick_form_for_draws_agrees(count: int, rank: int) -> None:
    a, b = features(count, 64, 0), features(count, 64, 1, 0.3)
    a[:, rank:], b[:, rank:] = 0, 0
    assert frechet_of_draw(a, b) == pytest.approx(frechet_of_features(a, b), rel=1e-4)


def test_of_a_set_with_itself_it_is_nothing() -> None:
    x = features(30, 64, 0)
    assert frechet_distance(Gaussian.of(x), Gaussian.of(x)) < 1e-6 * np.trace(Gaussian.of(x).covariance)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=6), st.integers(0, 99), st.floats(-1e3, 1e3))
def test_statistics_of_parts_merge_into_those_of_the_whole(parts: list[int], seed: int, shift: float) -> None:
    whole = features(sum(parts), 6, seed, shift)
    pieces = np.split(whole, np.cumsum(parts)[:-1])
    merged = Gaussian.of(pieces[0])
    for piece in pieces[1:]:
        merged = merged.merge(Gaussian.of(piece))
    assert merged.count == len(whole)
    assert merged.mean == pytest.approx(whole.astype(float).mean(0), rel=1e-12, abs=1e-12)
    if len(whole) > 1:
        assert merged.covariance == pytest.approx(np.cov(whole.astype(float), rowvar=False), rel=1e-9, abs=1e-9)


def test_merging_does_not_depend_on_which_worker_had_what() -> None:
    x, y = features(50, 16, 0), features(60, 16, 1, 0.2)
    one = frechet_distance(Gaussian.of(x), Gaussian.of(y))
    other = frechet_distance(
        Gaussian.of(x[30:]).merge(Gaussian.of(x[:7])).merge(Gaussian.of(x[7:30])),
        Gaussian.of(y[:1]).merge(Gaussian.of(y[1:])),
    )
    assert one == pytest.approx(other, rel=1e-9)


def test_one_sample_has_no_covariance() -> None:
    with pytest.raises(TooFew, match="two feature vectors"):
        frechet_of_features(features(1, 8, 0), features(5, 8, 1))


def test_features_that_are_not_finite_are_refused() -> None:
    x = features(5, 8, 0)
    x[2, 3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        Gaussian.of(x)


def test_kid_is_torchmetrics() -> None:
    a, b = features(40, 32, 0), features(40, 32, 1, 0.4)
    expected = float(poly_mmd(torch.from_numpy(b).double(), torch.from_numpy(a).double()))
    assert kid(a, b) == pytest.approx(expected, rel=1e-6)


def test_kid_from_its_definition_with_unequal_numbers() -> None:
    a, b = features(7, 5, 0).astype(float), features(9, 5, 1, 0.4).astype(float)

    def kernel(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
        return (x @ y / 5 + 1) ** 3

    within = np.mean([kernel(a[i], a[j]) for i in range(7) for j in range(7) if i != j])
    others = np.mean([kernel(b[i], b[j]) for i in range(9) for j in range(9) if i != j])
    across = np.mean([kernel(x, y) for x in a for y in b])
    assert kid(a, b) == pytest.approx(within + others - 2 * across, rel=1e-9)


def test_kid_in_blocks_is_kid_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = features(40, 8, 0), features(30, 8, 1)
    whole = kid(a, b)
    monkeypatch.setattr("pipelines.evaluate.metrics.kid.BLOCK", 7)
    assert kid(a, b) == pytest.approx(whole, rel=1e-9)
