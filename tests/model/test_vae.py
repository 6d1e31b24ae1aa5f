"""The VAE: what SVD scales and what not, decoding as a stream, and the shipped small one."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models import AutoencoderKLTemporalDecoder
from hypothesis import given, settings
from hypothesis import strategies as st

from model.encoders import TINY, load_encoders
from model.vae import DecodeWindow, Vae, from_uint8, to_uint8
from model.weight_files import BadFolder


@pytest.fixture(scope="module")
def vae() -> Vae:
    return load_encoders(TINY).vae


def pictures(count: int) -> torch.Tensor:
    """A disc that moves over a ramp: (count, 3, 24, 16)."""
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(16.0), indexing="ij")
    frames = []
    for frame in range(count):
        disc = ((x - 3 - frame % 9) ** 2 + (y - 12) ** 2 < 16).float()
        frames.append(torch.stack([disc, y / 24, 1 - disc * x / 16]) * 2 - 1)
    return torch.stack(frames)


def stream(vae: Vae, latents: torch.Tensor, window: DecodeWindow) -> torch.Tensor:
    return torch.stack(list(vae.decode_stream(iter(latents), window)))


def test_moments_are_those_of_diffusers(vae: Vae) -> None:
    moments, posterior = vae.encode(pictures(3), at_once=2), vae.net.encode(pictures(3)).latent_dist
    torch.testing.assert_close(moments.mode(), posterior.mode(), atol=1e-5, rtol=1e-5)
    noise = torch.randn(moments.mean.shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(moments.sample(noise), posterior.mean + posterior.std * noise, atol=1e-5, rtol=1e-5)


def test_the_image_condition_is_the_mode_of_the_noisy_picture_and_not_scaled(vae: Vae) -> None:
    noise = torch.randn(2, 3, 24, 16, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([0.02, 0.5])
    expected = vae.net.encode(pictures(2) + sigma.view(-1, 1, 1, 1) * noise).latent_dist.mode()
    torch.testing.assert_close(vae.image_latent(pictures(2), noise, sigma), expected, atol=1e-5, rtol=1e-5)


def test_decoding_takes_scaled_latents(vae: Vae) -> None:
    mode = vae.encode(pictures(3)).mode()
    expected = vae.net.decode(mode, num_frames=3).sample
    torch.testing.assert_close(vae.decode(vae.scaled(mode)), expected, atol=1e-5, rtol=1e-5)


@settings(max_examples=25, deadline=None)
@given(length=st.integers(1, 30), frames=st.integers(1, 9), context=st.integers(0, 3))
def test_a_stream_gives_every_frame_once_in_order_and_calls_of_one_size(length: int, frames: int, context: int) -> None:
    if frames <= 2 * context:
        with pytest.raises(ValueError, match="more than twice the context"):
            DecodeWindow(frames, context)
        return
    calls: list[list[int]] = []

    class Numbered(Vae):
        def __init__(self) -> None:
            pass

        def decode(self, latents: torch.Tensor) -> torch.Tensor:
            calls.append(latents.flatten().int().tolist())
            return latents

    given_out = [int(frame) for frame in Numbered().decode_stream(torch.arange(length), DecodeWindow(frames, context))]
    assert given_out == list(range(length))
    assert {len(call) for call in calls} == {min(length, frames)}
    for call in calls:
        assert call == list(range(call[0], call[0] + len(call)))
    for before, after in itertools.pairwise(calls):
        # What the earlier call gave out last had its context, and so has what the later one gives out first.
        assert after[0] <= before[-1] + 1 - 2 * context


def test_a_video_that_fits_the_window_is_one_call(vae: Vae) -> None:
    latents = vae.scaled(vae.encode(pictures(6)).mode())
    torch.testing.assert_close(stream(vae, latents, DecodeWindow(6, 2)), vae.decode(latents), atol=1e-5, rtol=0)


def test_context_brings_chunks_nearer_to_one_call(vae: Vae) -> None:
    latents = vae.scaled(vae.encode(pictures(24)).mode())
    whole = vae.decode(latents)
    errors = [
        float((stream(vae, latents, DecodeWindow(6 + 2 * context, context)) - whole).abs().mean())
        for context in (0, 1, 3)
    ]
    assert errors[0] > errors[1] > errors[2] > 0


def test_no_context_is_diffusers_chunks(vae: Vae) -> None:
    latents = vae.scaled(vae.encode(pictures(8)).mode())
    chunks = [vae.net.decode(part / vae.scaling_factor, num_frames=4).sample for part in latents.split(4)]
    torch.testing.assert_close(stream(vae, latents, DecodeWindow(4, 0)), torch.cat(chunks), atol=1e-5, rtol=1e-5)


def test_float16_runs_in_float32_where_the_net_asks_for_it() -> None:
    def net(upcast: bool) -> AutoencoderKLTemporalDecoder:
        return AutoencoderKLTemporalDecoder(block_out_channels=(32,), force_upcast=upcast)

    assert Vae(net(True), torch.float16).net.dtype == torch.float32
    assert Vae(net(False), torch.float16).net.dtype == torch.float16
    assert Vae(net(True), torch.bfloat16).net.dtype == torch.bfloat16


def test_uint8_goes_there_and_back() -> None:
    frames = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(1, 16, 16, 3)
    assert torch.equal(to_uint8(from_uint8(frames)), frames)
    assert to_uint8(torch.tensor([-9.0, 0.0, 9.0]).view(3, 1, 1)).flatten().tolist() == [0, 128, 255]


@pytest.mark.parametrize("shape", [(1, 3, 26, 16), (1, 4, 24, 16), (3, 24, 16)])
def test_pictures_of_a_wrong_shape_are_refused(vae: Vae, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"divisible by 4|\(N, 3, H, W\)"):
        vae.encode(torch.zeros(shape))


def test_latents_of_the_small_vae_have_unit_deviation(vae: Vae) -> None:
    latents = vae.scaled(vae.encode(pictures(9)).mode())
    assert 0.5 < float(latents.std()) < 2


def test_the_small_vae_shows_the_demo_recognisably(vae: Vae) -> None:
    """A frame of the cast that it was not fitted on."""
    from fractions import Fraction

    import cv2

    from pipelines.body.model import load_body
    from pipelines.demo.film import film_frames
    from pipelines.demo.videos import FILMS

    film = next(film for film in FILMS if film.name == "dance")
    shot = film.shots[0].__class__(**{**film.shots[0].__dict__, "seconds": 0.1})
    small = film.__class__(film.name, film.title, film.size, Fraction(20), (shot,))
    frame = next(iter(film_frames(load_body(None), small, 0)))
    frame = cv2.resize(frame, (64, 96), interpolation=cv2.INTER_AREA)
    wanted = from_uint8(torch.from_numpy(frame))[None]
    error = (vae.decode(vae.scaled(vae.encode(wanted).mode())).clamp(-1, 1) - wanted).square().mean()
    assert 10 * math.log10(4 / float(error)) > 22


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadFolder, match=r"vae/config\.json"):
        load_encoders(tmp_path)
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "config.json").write_text((TINY / "vae" / "config.json").read_text())
    with pytest.raises(BadFolder, match=r"diffusion_pytorch_model\.safetensors"):
        load_encoders(tmp_path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "config.json").write_text((TINY / "vae" / "config.json").read_text())
    (tmp_path / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(np.arange(99).tobytes())
    with pytest.raises(BadFolder, match=str(tmp_path / "vae")):
        load_encoders(tmp_path)
