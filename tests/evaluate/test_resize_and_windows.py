"""Resize kernels and clip rules."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.evaluate import windows
from pipelines.evaluate.resize import pil_bicubic, to_bytes, torch_bilinear
from tests.evaluate.videos import moving


def test_the_clean_kernel_is_pillows_on_floats() -> None:
    [frame] = moving(1)
    expected = Image.fromarray(frame[..., 1].astype(np.float32), mode="F").resize((20, 30), Image.Resampling.BICUBIC)
    assert np.array_equal(pil_bicubic(frame, (20, 30))[..., 1], np.asarray(expected))


def test_the_clean_kernel_averages_where_it_shrinks_and_the_other_skips() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::4] = 255
    # A quarter of the picture is white. Sampling it between the stripes shows none of them.
    assert pil_bicubic(stripes, (16, 16)).mean() == pytest.approx(255 / 4, abs=3)
    assert torch_bilinear(stripes, (16, 16)).max() == 0


def test_the_aliased_kernel_is_torchs() -> None:
    [frame] = moving(1)
    tensor = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255
    expected = torch.nn.functional.interpolate(tensor, (19, 23), mode="bilinear", align_corners=False)[0]
    assert torch_bilinear(frame, (23, 19)) == pytest.approx(expected.permute(1, 2, 0).numpy() * 255, abs=1e-3)


def test_rounding_keeps_overshoot_in_range() -> None:
    assert to_bytes(np.array([[[-3.0, 0.5, 258.0]]], np.float32)).tolist() == [[[0, 0, 255]]]


@pytest.mark.parametrize(("frames", "every", "disco"), [(15, 0, 0), (16, 1, 0), (17, 2, 1), (100, 85, 84)])
def test_the_numbers_of_clips(frames: int, every: int, disco: int) -> None:
    assert windows.count(frames, windows.ALL) == every
    # DisCo's loop: for start in range(0, frames - 16)
    assert windows.count(frames, windows.DISCO) == disco == len(range(0, frames - 16))
