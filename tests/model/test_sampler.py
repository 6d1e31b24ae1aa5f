"""The sampler: against diffusers, against analytic denoisers, and the wave front against the plain order of steps."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable

import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model import edm
from model.guidance import Denoise, Guidance, guided
from model.noise import FrameNoise
from model.sampler import Sampling, sample
from model.schedule import align_your_steps_sigmas, karras_sigmas
from model.windows import Windows
from tests.model.stock_scheduler import svd_scheduler

NOISE = FrameNoise((1, 2), (2, 3, 4))


def video(
    denoise: Denoise | list[Denoise], noise: Callable[[int], Tensor], windows: Windows, sigmas: tuple[float, ...]
) -> Tensor:
    """(B, frames, C, h, w), with the order checked."""
    numbers, latents = zip(*sample(denoise, noise, windows, sigmas))
    assert numbers == tuple(range(windows.frames))
    return torch.stack(latents, dim=1)


def plain_order(
    denoise: Denoise, noise: Callable[[int], Tensor], windows: Windows, sigmas: tuple[float, ...]
) -> Tensor:
    """The reference: each step in all windows before the next, the whole video in memory."""
    x = torch.stack([noise(frame) for frame in range(windows.frames)], dim=1) * (sigmas[0] ** 2 + 1) ** 0.5
    for sigma, following in itertools.pairwise(sigmas):
        fused = torch.zeros_like(x)
        for window in range(windows.count):
            span = windows.frames_of(window)
            denoised = denoise(x[:, span.start : span.stop], sigma, span)
            for place, frame in enumerate(span):
                fused[:, frame] += denoised[:, place] * windows.weight(window, frame)
        x = fused + (x - fused) * (following / sigma)
    return x


def mixing(x: Tensor, sigma: float, frames: range) -> Tensor:
    """A denoiser of which every output frame depends on every frame of the window, on their places and numbers."""
    places = torch.linspace(-1, 1, x.shape[1]).reshape(1, -1, 1, 1, 1)
    target = torch.sin(torch.tensor([*frames]).reshape(1, -1, 1, 1, 1) * 0.7)
    pooled = (x * (1 + places)).mean(1, keepdim=True).tanh()
    return (x + target * sigma) / (1 + sigma) + 0.3 * pooled * places


def truth(x: Tensor, sigma: float, frames: range) -> Tensor:
    """A denoiser that knows the answer."""
    return torch.stack([torch.full_like(x[:, 0], 100 + frame) for frame in frames], dim=1)


@st.composite
def any_windows(draw: st.DrawFn) -> Windows:
    size = draw(st.integers(1, 9))
    return Windows(draw(st.integers(1, 4 * size + 3)), size, draw(st.integers(0, size - 1)))


def network(scaled: Tensor, c_noise: Tensor) -> Tensor:
    """A fixed F of the scaled latent and the noise level, which mixes frames."""
    return torch.tanh(scaled.roll(1, dims=1) * 0.7 + scaled.flip(-1) + c_noise) * 1.3


@pytest.mark.parametrize("guidance", [Guidance(1.0, 1.0), Guidance(1.0, 3.0)])
@pytest.mark.parametrize("sigmas", [karras_sigmas(25), align_your_steps_sigmas(), karras_sigmas(1)], ids=len)
def test_each_step_is_that_of_diffusers(sigmas: tuple[float, ...], guidance: Guidance) -> None:
    frames = 6
    unit = torch.stack([NOISE(frame) for frame in range(frames)], dim=1)
    scheduler = svd_scheduler()
    if sigmas == align_your_steps_sigmas():
        scheduler.set_timesteps(sigmas=list(sigmas))
    else:
        scheduler.set_timesteps(len(sigmas) - 1)
    scale = torch.linspace(guidance.first, guidance.last, frames).reshape(1, -1, 1, 1, 1)
    x, theirs = unit * scheduler.init_noise_sigma, []
    for t in scheduler.timesteps:
        scaled = scheduler.scale_model_input(x, t)
        without, conditional = network(scaled * 0.5, t), network(scaled, t)
        theirs.append(x)
        x = scheduler.step(without + scale * (conditional - without), t, x, return_dict=False)[0]
    theirs.append(x)

    ours = []

    def predict(x: Tensor, sigma: float, frames: range, conditional: tuple[bool, ...]) -> Tensor:
        ours.append(x)
        scaled, c_noise = edm.scaled(x, sigma), edm.c_noise(sigma)
        return torch.stack(
            [edm.denoised(network(scaled * (1 if half else 0.5), c_noise), x, sigma) for half in conditional]
        )

    ours.append(video(guided(predict, guidance), NOISE, Windows(frames, 14, 4), sigmas))
    assert len(ours) == len(theirs)
    # In one step from 700 to 0 diffusers' form loses the digits that the latent has more than the picture.
    tolerance = 1e-5 if len(sigmas) > 2 else 1e-3
    for mine, reference in zip(ours, theirs):
        assert float((mine - reference).abs().max() / reference.abs().max()) < tolerance


# Against analytic denoisers


@pytest.mark.parametrize("std", [0.3, 1.0, 3.0])
def test_gaussian_data_is_sampled_to_the_right_mean_and_variance(std: float) -> None:
    """The error left at 2000 steps is Euler's own, 0.2 % of the deviation, and that of starting from mean 0 at 700."""
    mean, noise = 1.5, FrameNoise((0,), (4, 16, 16))

    def denoise(x: Tensor, sigma: float, frames: range) -> Tensor:
        return (std**2 * x + sigma**2 * mean) / (std**2 + sigma**2)

    samples = video(denoise, noise, Windows(1, 14, 4), karras_sigmas(2000)).double()
    # Compared with the noise that was drawn, not with what it is on average: even a million samples would hide 0.3 %.
    drawn = noise(0).double()
    assert float(samples.std() / drawn.std()) == pytest.approx(std, rel=0.0025)
    assert float(samples.mean() - std * drawn.mean()) == pytest.approx(mean, abs=0.008)


def test_the_covariance_between_frames_is_sampled() -> None:
    """Sampling is linear here, so its matrix is found by sampling from unit vectors."""
    distance = torch.arange(4)[:, None] - torch.arange(4)
    covariance = 0.8 ** distance.abs().double()

    def denoise(x: Tensor, sigma: float, frames: range) -> Tensor:
        gain = covariance @ torch.linalg.inv(covariance + sigma**2 * torch.eye(4))
        return torch.einsum("ij,bjchw->bichw", gain.float(), x)

    def unit(frame: int) -> Tensor:
        return torch.eye(4)[frame].reshape(1, 1, 1, 4)

    matrix = video(denoise, unit, Windows(4, 4, 0), karras_sigmas(1000)).reshape(4, 4).double()
    assert float((matrix @ matrix.T - covariance).abs().max()) < 0.01


def test_the_last_step_gives_the_denoiser_s_answer_exactly() -> None:
    answer = truth(torch.zeros(2, 5, 2, 3, 4), 1.0, range(5))
    for steps in (1, 2, 25):
        assert torch.equal(video(truth, NOISE, Windows(5, 14, 4), karras_sigmas(steps)), answer)


# Windows and the wave front


@given(any_windows(), st.integers(1, 4))
@settings(deadline=None)
def test_a_denoiser_that_knows_the_answer_gives_it_for_any_window_overlap_and_length(
    windows: Windows, steps: int
) -> None:
    answer = truth(torch.zeros(2, windows.frames, 2, 3, 4), 1.0, range(windows.frames))
    result = video(truth, NOISE, windows, karras_sigmas(steps))
    assert torch.allclose(result, answer, rtol=1e-6, atol=0)


@given(any_windows(), st.integers(1, 5))
@settings(deadline=None)
def test_the_wave_front_is_the_plain_order_bit_for_bit(windows: Windows, steps: int) -> None:
    sigmas = karras_sigmas(steps)
    assert torch.equal(video(mixing, NOISE, windows, sigmas), plain_order(mixing, NOISE, windows, sigmas))


@pytest.mark.parametrize(("size", "overlap"), [(14, 4), (14, 10)])
def test_twenty_five_steps_of_three_windows_and_beyond_are_the_plain_order(size: int, overlap: int) -> None:
    windows, sigmas = Windows(75, size, overlap), karras_sigmas(25)
    assert torch.equal(video(mixing, NOISE, windows, sigmas), plain_order(mixing, NOISE, windows, sigmas))


def test_a_denoiser_sees_frames_that_other_windows_have_changed() -> None:
    """Windows are fused at each step: sampled one by one and joined at the end they would differ."""
    sigmas = karras_sigmas(5)
    fused = video(mixing, NOISE, Windows(24, 14, 4), sigmas)
    first_alone = video(mixing, NOISE, Windows(14, 14, 4), sigmas)
    assert not torch.allclose(fused[:, :5], first_alone[:, :5], atol=1e-3)


@given(any_windows(), st.integers(2, 4))
@settings(deadline=None, max_examples=25)
def test_several_devices_give_the_same_video(windows: Windows, workers: int) -> None:
    sigmas = karras_sigmas(4)
    denoisers: list[Denoise] = [lambda *asked: mixing(*asked) for _ in range(workers)]
    assert torch.equal(video(denoisers, NOISE, windows, sigmas), video(mixing, NOISE, windows, sigmas))


def test_devices_work_at_the_same_time_each_on_one_window() -> None:
    """The first calls of three devices wait for each other: that ends only where three run at once."""
    together, busy = threading.Barrier(3), [threading.Lock() for _ in range(3)]

    def device(number: int) -> Denoise:
        def denoise(x: Tensor, sigma: float, frames: range) -> Tensor:
            assert busy[number].acquire(blocking=False), "a device was asked twice at once"
            try:
                if frames[0] < 30 and sigma == 700:
                    together.wait(timeout=20)
                time.sleep(0.001 * number)
                return mixing(x, sigma, frames)
            finally:
                busy[number].release()

        return denoise

    windows, sigmas = Windows(114, 14, 4), karras_sigmas(3)
    assert torch.equal(
        video([device(0), device(1), device(2)], NOISE, windows, sigmas), video(mixing, NOISE, windows, sigmas)
    )


def test_a_batch_is_each_video_alone_bit_for_bit() -> None:
    windows, sigmas = Windows(33, 8, 3), karras_sigmas(5)
    together = video(mixing, FrameNoise((5, 6, 5), (2, 3, 4)), windows, sigmas)
    alone = [video(mixing, FrameNoise((seed,), (2, 3, 4)), windows, sigmas) for seed in (5, 6, 5)]
    assert torch.equal(together, torch.cat(alone))


def test_latents_stay_fp32_around_a_half_precision_denoiser() -> None:
    asked: list[torch.dtype] = []

    def half(x: Tensor, sigma: float, frames: range) -> Tensor:
        asked.append(x.dtype)
        return mixing(x, sigma, frames).bfloat16()

    result = video(half, NOISE, Windows(20, 8, 3), karras_sigmas(3))
    assert result.dtype == torch.float32
    assert set(asked) == {torch.float32}


@pytest.mark.parametrize("workers", [1, 2])
def test_no_graph_is_kept_of_a_network_that_has_parameters(workers: int) -> None:
    scale = torch.nn.Parameter(torch.tensor(0.5))

    def denoise(x: Tensor, sigma: float, frames: range) -> Tensor:
        return x * scale

    assert not video([denoise] * workers, NOISE, Windows(20, 8, 3), karras_sigmas(2)).requires_grad
    assert torch.is_grad_enabled()


# Memory


def frames_held(frames: int, steps: int, overlap: int, workers: int) -> int:
    sampling = Sampling(FrameNoise((0,), (1, 1, 1)), Windows(frames, 14, overlap), karras_sigmas(steps), workers)
    most = 0
    while not sampling.finished:
        tasks = [task for _ in range(workers) if (task := sampling.take()) is not None]
        for task in tasks:
            sampling.put(task, truth(task.x, task.sigma, task.frames))
        most = max(most, sampling.frames_in_flight)
        for _ in sampling.give():
            pass
    assert sampling.frames_in_flight == 0
    return most


@pytest.mark.parametrize(("overlap", "workers", "at_most"), [(4, 1, 6 * 10 + 14), (10, 1, 6 * 3 * 4 + 14), (4, 4, 110)])
def test_the_frames_held_do_not_grow_with_the_video(overlap: int, workers: int, at_most: int) -> None:
    short, long = (frames_held(frames, 6, overlap, workers) for frames in (204, 2004))
    assert short == long <= at_most


def test_memory_does_not_grow_with_the_video() -> None:
    """5000 frames of 16 KiB are 78 MiB: holding them, or a tenth of them, would be seen."""

    def most_memory(frames: int) -> int:
        process, most = psutil.Process(), 0
        for frame, _ in sample(truth, FrameNoise((0,), (4, 32, 32)), Windows(frames, 14, 4), karras_sigmas(4)):
            if frame % 50 == 49:
                most = max(most, process.memory_info().rss)
        return most

    most_memory(200)
    short = most_memory(200)
    assert most_memory(5000) - short < 6 * 2**20


def test_a_frame_that_came_out_is_never_asked_about_again() -> None:
    came_out, asked = -1, 0

    def denoise(x: Tensor, sigma: float, frames: range) -> Tensor:
        nonlocal asked
        assert frames[0] > came_out
        asked += 1
        return mixing(x, sigma, frames)

    windows = Windows(120, 14, 4)
    for number, _ in sample(denoise, NOISE, windows, karras_sigmas(4)):
        came_out = number
    assert asked == windows.count * 4


def test_frames_come_out_long_before_the_end_and_noise_is_asked_for_once_each() -> None:
    drawn: list[int] = []

    def noise(frame: int) -> Tensor:
        drawn.append(frame)
        return NOISE(frame)

    stream = sample(mixing, noise, Windows(500, 14, 4), karras_sigmas(5))
    assert next(stream)[0] == 0
    assert len(drawn) < 60
    for _ in stream:
        pass
    assert drawn == list(range(500))


# Bad input


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_denoiser_that_breaks_is_named_with_step_and_frames(value: float, workers: int) -> None:
    sigmas = karras_sigmas(5)

    def denoise(x: Tensor, sigma: float, frames: range) -> Tensor:
        result = mixing(x, sigma, frames).clone()
        if 27 in frames and sigma == sigmas[2]:
            result[1, frames.index(27), 0, 0, 0] = value
        return result

    message = r"step 3 of 5 \(sigma .*\) in frames 27 to 27, in the window of frames 20 to 33"
    with pytest.raises(FloatingPointError, match=message):
        video([denoise] * workers, NOISE, Windows(74, 14, 4), sigmas)


def test_a_denoiser_that_changes_the_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"gave \(2, 4, 2, 3, 4\) for latents \(2, 5, 2, 3, 4\)"):
        video(lambda x, sigma, frames: x[:, 1:], NOISE, Windows(5, 14, 4), karras_sigmas(2))


@pytest.mark.parametrize("sigmas", [(), (0.0,), (5.0, 1.0), (5.0, 5.0, 0.0), (1.0, 5.0, 0.0), (float("nan"), 1.0, 0.0)])
def test_levels_that_do_not_fall_to_zero_are_refused(sigmas: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="fall and end in 0"):
        sample(truth, NOISE, Windows(5, 5, 0), sigmas)
