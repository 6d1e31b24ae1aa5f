"""L1, PSNR and SSIM under both protocols, against numpy, scikit-image, torchmetrics and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import peak_signal_noise_ratio
from torchmetrics.functional.image import structural_similarity_index_measure

from pipelines.clip import Frames
from pipelines.evaluate.metrics import l1, psnr, ssim
from tests.evaluate.videos import moving

PICTURES = arrays(np.uint8, (6, 5, 3))


def noise(seed: int, side: int = 256) -> Frames:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


@given(PICTURES, PICTURES)
def test_l1_is_the_mean_absolute_difference(a: Frames, b: Frames) -> None:
    assert l1.l1(a, b) == pytest.approx(np.abs(a / 255 - b / 255).mean(), abs=1e-12)


@given(PICTURES, PICTURES)
def test_discos_l1_is_divided_by_the_pixels_again(a: Frames, b: Frames) -> None:
    # As DisCo does it: absolute differences over H * W, then the mean over every picture's values.
    assert l1.l1_disco(a, b) == pytest.approx(np.mean(np.abs(a.astype(float) - b.astype(float)) / 30), rel=1e-12)


@given(PICTURES, PICTURES)
def test_the_two_l1_convert_into_each_other(a: Frames, b: Frames) -> None:
    assert l1.from_disco(l1.l1_disco(a, b), (5, 6)) == pytest.approx(l1.l1(a, b), rel=1e-12)
    assert l1.to_disco(l1.l1(a, b), (5, 6)) == pytest.approx(l1.l1_disco(a, b), rel=1e-12)


def test_the_published_l1_are_of_one_magnitude_at_the_sizes_they_were_taken_at() -> None:
    disco = l1.from_disco(4.27e-4, (256, 256)) * 255
    vividpose = l1.from_disco(6.89e-5, (512, 768)) * 255
    assert disco == pytest.approx(28.0, abs=0.05)
    assert vividpose == pytest.approx(27.1, abs=0.05)


@given(PICTURES, PICTURES)
def test_psnr_is_scikit_images(a: Frames, b: Frames) -> None:
    if not np.array_equal(a, b):
        expected = min(100.0, peak_signal_noise_ratio(a, b, data_range=255))
        assert psnr.psnr(a, b) == pytest.approx(expected, abs=1e-9)


@given(PICTURES, PICTURES)
def test_discos_psnr_is_numpys_on_bytes(a: Frames, b: Frames) -> None:
    error = np.mean((a - b) ** 2)
    expected = 100 if error == 0 else min(100, 20 * np.log10(255 / np.sqrt(error)))
    assert psnr.psnr_disco(a, b) == pytest.approx(expected, abs=1e-9)


def test_unrelated_pictures_score_28_dB_under_disco_and_8_dB_corrected() -> None:
    a, b = noise(0), noise(1)
    assert psnr.psnr_disco(a, b) == pytest.approx(27.9, abs=0.1)
    assert psnr.psnr(a, b) == pytest.approx(7.75, abs=0.1)


def test_noise_of_sixteen_levels_gains_five_dB_by_wrapping() -> None:
    base = np.full((256, 256, 3), 128, np.uint8)
    drawn = np.random.default_rng(0).normal(0, 16, base.shape)
    noisy = np.clip(np.rint(base + drawn), 0, 255).astype(np.uint8)
    assert psnr.psnr(noisy, base) == pytest.approx(24.0, abs=0.1)  # 20 log10(255 / 16)
    assert psnr.psnr_disco(noisy, base) > 28.5


def test_equal_pictures_have_a_psnr_of_100() -> None:
    assert psnr.psnr(noise(0), noise(0)) == psnr.psnr_disco(noise(0), noise(0)) == 100


def test_ssim_of_the_corrected_protocol_is_torchmetrics_inside_the_border() -> None:
    a, b = moving(2, 3, (64, 48), noise=20)
    tensors = [torch.from_numpy(picture).permute(2, 0, 1)[None].double() for picture in (a, b)]
    _, whole = structural_similarity_index_measure(*tensors, data_range=255.0, return_full_image=True)
    assert ssim.ssim(a, b) == pytest.approx(float(whole[..., 5:-5, 5:-5].mean()), abs=2e-6)


def test_ssim_of_the_disco_protocol_from_its_formula() -> None:
    import cv2

    a, b = moving(2, 4, noise=15)
    x, y = (cv2.cvtColor(picture[..., ::-1].copy(), cv2.COLOR_BGR2GRAY).astype(float) for picture in (a, b))
    windows = [np.lib.stride_tricks.sliding_window_view(side, (7, 7)).reshape(-1, 49) for side in (x, y)]
    mx, my = (window.mean(1) for window in windows)
    vx, vy = (window.var(1, ddof=1) for window in windows)
    covariance = ((windows[0] - mx[:, None]) * (windows[1] - my[:, None])).sum(1) / 48
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    index = (2 * mx * my + c1) * (2 * covariance + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    assert ssim.ssim_disco(a, b) == pytest.approx(index.mean(), abs=1e-6)


@given(st.integers(0, 1000))
def test_equal_pictures_have_an_ssim_of_one(seed: int) -> None:
    [picture] = moving(1, seed)
    assert ssim.ssim(picture, picture) == pytest.approx(1)
    assert ssim.ssim_disco(picture, picture) == pytest.approx(1)
