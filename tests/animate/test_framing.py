"""Into the model's frame and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.animate.framing import Restorer, frame_reference
from pipelines.video.crop import crop_to

SIDES = st.integers(64, 900)
MODELS = st.sampled_from([(64, 96), (96, 64), (512, 768), (32, 48), (64, 64)])


def picture(width: int, height: int) -> np.ndarray:
    """A smooth picture that differs everywhere."""
    x, y = np.linspace(0, 255, width), np.linspace(0, 255, height)
    return np.stack(np.broadcast_arrays(x[None], y[:, None], 128.0), -1).round().astype(np.uint8)


@pytest.mark.parametrize("size", [(720, 1280), (768, 576), (500, 750), (40, 60)])
def test_a_centred_crop_is_the_training_stream_s_to_the_bit(size: tuple[int, int]):
    image = picture(*size)
    framing = frame_reference(size, (64, 96), "crop")
    stream = crop_to(size, (64, 96))
    assert np.array_equal(framing.reference(image), stream.pictures(image[None])[0].transpose(1, 2, 0))
    points = np.random.default_rng(0).uniform(0, min(size), (133, 2)).astype(np.float32)
    assert np.array_equal(framing.points(points), stream.points(points))


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, MODELS, st.sampled_from(["letterbox", "crop"]))
def test_what_the_model_is_given_comes_back_in_the_reference_s_framing(
    width: int, height: int, model: tuple[int, int], policy: str
):
    image = picture(width, height)
    framing = frame_reference((width, height), model, policy)  # type: ignore[arg-type]
    given_picture = framing.reference(image)
    assert given_picture.shape == (model[1], model[0], 3)
    back = Restorer(framing, image)(given_picture)
    assert back.shape == (framing.result[1], framing.result[0], 3)
    assert framing.result[0] % 2 == framing.result[1] % 2 == 0
    whole = picture(*framing.result).astype(int)
    # The same smooth picture at another size: to within a pixel or two of the gradient, at each place.
    step = 255 / min(framing.result) * 2.5 + 2
    assert np.abs(back.astype(int) - whole).max() <= step


def test_a_letterbox_shows_all_and_a_map_is_black_beyond_the_picture():
    framing = frame_reference((400, 400), (64, 96), "letterbox")
    white = np.full((400, 400, 3), 255, np.uint8)
    assert framing.reference(white).min() == 255
    rows = framing.map(white).mean((1, 2))
    assert (rows[:14] == 0).all()
    assert (rows[20:76] == 255).all()
    assert framing.result == (64, 64)


def test_a_crop_is_centred_on_the_person_as_far_as_the_borders_allow():
    assert frame_reference((1000, 600), (64, 96), "crop", (700, 300)).left == 500
    assert frame_reference((1000, 600), (64, 96), "crop", (990, 300)).left == 600
    assert frame_reference((1000, 600), (64, 96), "crop", (0, 300)).left == 0


def test_around_a_crop_the_reference_stays_as_it_is():
    image = picture(900, 600)
    framing = frame_reference((900, 600), (64, 96), "crop", (450, 300))
    black = Restorer(framing, image)(np.zeros((96, 64, 3), np.uint8))
    white = Restorer(framing, image)(np.full((96, 64, 3), 255, np.uint8))
    assert np.array_equal(black[:, :38], white[:, :38])
    assert (black[10:-10, 60:84] == 0).all()
