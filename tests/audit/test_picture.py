"""What frames show of themselves, on drawn pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.audit.overlays import black_bars, overlay_share
from pipelines.audit.picture import _Stills, blockiness, sharpness

Grey = NDArray[np.uint8]


def scene(frames: int = 16, noise: float = 0.0, moving: bool = True) -> Grey:
    """A soft background, and a disc that walks through it."""
    rng = np.random.default_rng(0)
    room = cv2.resize(rng.integers(60, 180, (6, 4)).astype(np.uint8), (128, 192), interpolation=cv2.INTER_CUBIC)
    pictures = []
    for number in range(frames):
        picture = room.astype(np.float32) + noise * rng.normal(size=room.shape)
        cv2.circle(picture, (30 + 4 * number * moving, 90), 14, (230,), -1, cv2.LINE_AA)
        pictures.append(picture.clip(0, 255).astype(np.uint8))
    return np.stack(pictures)


def stills(stack: Grey) -> _Stills:
    meter = _Stills()
    for grey in stack:
        meter.add(grey)
    return meter


def test_black_bars_are_measured_to_the_pixel():
    stack = scene()
    stack[:, :17], stack[:, -9:], stack[:, :, :5] = 16, 17, 15
    assert black_bars(stack) == (17, 9, 5, 0)


def test_a_dark_scene_has_no_bars():
    assert black_bars(np.zeros((4, 64, 64), np.uint8)) == (0, 0, 0, 0)
    assert black_bars(scene() // 4) == (0, 0, 0, 0)


def test_a_caption_over_a_moving_scene_is_an_overlay():
    plain, captioned = scene(), scene()
    for grey in captioned:
        cv2.putText(grey, "subtitle here", (6, 170), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255,), 1, cv2.LINE_AA)
    assert overlay_share(plain) < 0.05
    assert overlay_share(captioned) > 0.25


def test_text_that_scrolls_is_no_static_overlay():
    stack = scene()
    for number, grey in enumerate(stack):
        cv2.putText(grey, "news", (100 - 8 * number, 170), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255,), 1, cv2.LINE_AA)
    assert overlay_share(stack) < 0.1


def test_a_moving_scene_has_no_stills():
    assert stills(scene()).longest() == 0


def test_a_frozen_scene_is_one_run_though_the_codec_draws_it_anew():
    stack = np.repeat(scene(1), 20, axis=0).astype(np.int16)
    stack[10:] += np.random.default_rng(1).integers(-4, 5, stack.shape[1:])
    stack[10:, 50, 50] += 12
    meter = stills(stack.clip(0, 255).astype(np.uint8))
    assert meter.longest() == 19
    assert meter.share() == 1


def test_every_second_frame_repeated_is_half_of_them_and_no_run():
    meter = stills(np.repeat(scene(10), 2, axis=0))
    assert meter.longest() == 1
    assert meter.share() == pytest.approx(10 / 19)


def test_one_small_step_between_moving_frames_is_no_still():
    assert stills(scene(noise=3.0, moving=False)).share() == 0


def test_one_frame_has_no_stills():
    assert (stills(scene(1)).longest(), stills(scene(1)).share()) == (0, 0.0)


def test_blur_lowers_the_sharpness_and_size_does_not():
    stack = np.random.default_rng(0).integers(0, 255, (3, 256, 256)).astype(np.uint8)
    boxes = np.tile(np.array([0, 0, 256, 256], np.float32), (3, 1))
    soft = np.stack([cv2.GaussianBlur(grey, (0, 0), 2) for grey in stack])
    plain, blurred = sharpness(stack, boxes), sharpness(soft, boxes)
    assert plain is not None
    assert blurred is not None
    assert blurred < plain / 10


def test_without_a_box_there_is_no_sharpness():
    assert sharpness(scene(2), np.full((2, 4), np.nan, np.float32)) is None


def test_blocks_of_eight_show():
    smooth = np.tile(np.linspace(0, 255, 128).astype(np.uint8), (2, 128, 1))
    blocky = (smooth // 16) * 16
    assert blockiness(smooth) < 1.5
    assert blockiness(blocky) > 2
