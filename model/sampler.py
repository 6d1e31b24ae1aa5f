"""Euler sampling of videos of any length: frames come out in order as they are finished, memory does not grow.

One Euler step of the probability flow ODE (Karras et al. 2022, Alg. 1 without its correction), as diffusers'
EulerDiscreteScheduler takes it: dx/dsigma = (x - D)/sigma, so x' = D + sigma'/sigma (x - D), where D is what the
windows say about a frame, averaged with their weights before the step. Latents are fp32 throughout.

What is computed does not depend on the order of the cells (`wavefront`), nor on the number of devices: each frame adds
up its windows in the windows' order. The result is that of taking each step in all windows before the next step, bit
for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import torch
from torch import Tensor

from model.guidance import Denoise
from model.schedule import check_sigmas
from model.wavefront import Cell, Wavefront
from model.windows import Windows


@dataclass(frozen=True)
class Task:
    """What a denoiser is to be asked: x (B, T, C, h, w) fp32 at noise level sigma, of these frames of the video."""

    cell: Cell
    x: Tensor
    sigma: float
    frames: range


@dataclass
class _Frame:
    """A frame under way: its latent (B, C, h, w) after `step` steps, and what windows said about it at this step."""

    x: Tensor
    step: int = 0
    parts: dict[int, Tensor] = field(default_factory=dict)


class Sampling:
    """A batch of videos while it is sampled: give out tasks, take in their results, give out finished frames.

    noise: unit Gaussian noise (B, C, h, w) of a frame, by its number (`noise.FrameNoise`). Asked once for each frame,
    when the first window that contains it begins.
    sigmas: noise levels, falling, the last one 0 (`schedule`).
    workers: how many tasks are computed at once.
    """

    def __init__(
        self, noise: Callable[[int], Tensor], windows: Windows, sigmas: Sequence[float], workers: int = 1
    ) -> None:
        check_sigmas(tuple(sigmas))
        self.windows = windows
        self.sigmas = tuple(sigmas)
        self._noise = noise
        self._wavefront = Wavefront(windows, len(sigmas) - 1, workers)
        self._frames: dict[int, _Frame] = {}
        self._next = 0  # the first frame not given out

    @property
    def frames_in_flight(self) -> int:
        """How many frames are held."""
        return len(self._frames)

    @property
    def finished(self) -> bool:
        return self._wavefront.finished

    def take(self) -> Task | None:
        """The next task; None while there is none before one that was given out comes back, and at the end."""
        cell = self._wavefront.take()
        if cell is None:
            return None
        span = self.windows.frames_of(cell.window)
        for number in span:
            if number not in self._frames:
                self._frames[number] = _Frame(self._first_latent(number))
        x = torch.stack([self._frames[number].x for number in span], dim=1)
        return Task(cell, x, self.sigmas[cell.step], span)

    def put(self, task: Task, denoised: Tensor) -> None:
        """Takes in D of a task. Raises FloatingPointError with step and frames where it is not finite."""
        if denoised.shape != task.x.shape:
            raise ValueError(f"the denoiser gave {tuple(denoised.shape)} for latents {tuple(task.x.shape)}")
        denoised = denoised.to(task.x.device, torch.float32)
        self._check_finite(task, denoised)
        for place, number in enumerate(task.frames):
            weight = self.windows.weight(task.cell.window, number)
            self._frames[number].parts[task.cell.window] = denoised[:, place] * weight
            self._step(number)
        self._wavefront.finish(task.cell)

    def give(self) -> Iterator[tuple[int, Tensor]]:
        """The frames that are finished since the last call, in the video's order, each once: number and latent
        (B, C, h, w). They are then forgotten, and no later task contains them."""
        while (frame := self._frames.get(self._next)) is not None and frame.step == len(self.sigmas) - 1:
            del self._frames[self._next]
            self._next += 1
            yield self._next - 1, frame.x

    def _first_latent(self, number: int) -> Tensor:
        # The data's own variance, 1, belongs to the variance at the highest level (diffusers and Stability's code).
        return self._noise(number).float() * (self.sigmas[0] ** 2 + 1) ** 0.5

    def _step(self, number: int) -> None:
        """The Euler step of a frame, once all its windows have spoken."""
        frame, covering = self._frames[number], self.windows.covering(number)
        if len(frame.parts) < len(covering):
            return
        parts = [frame.parts[window] for window in covering]
        fused = parts[0]
        for part in parts[1:]:
            fused = fused + part
        frame.x = fused + (frame.x - fused) * (self.sigmas[frame.step + 1] / self.sigmas[frame.step])
        frame.step += 1
        frame.parts.clear()

    def _check_finite(self, task: Task, denoised: Tensor) -> None:
        if torch.isfinite(denoised).all():
            return
        bad = [n for place, n in enumerate(task.frames) if not torch.isfinite(denoised[:, place]).all()]
        raise FloatingPointError(
            f"the denoiser gave NaN or infinity at step {task.cell.step + 1} of {len(self.sigmas) - 1} "
            f"(sigma {task.sigma:.4g}) in frames {bad[0]} to {bad[-1]}, in the window of frames {task.frames[0]} to "
            f"{task.frames[-1]}; check the weights and conditions for NaN, and the network's precision"
        )


def sample(
    denoisers: Denoise | Sequence[Denoise],
    noise: Callable[[int], Tensor],
    windows: Windows,
    sigmas: Sequence[float],
) -> Iterator[tuple[int, Tensor]]:
    """Samples a batch of videos of the same length: (frame number, latent (B, C, h, w) fp32), in order.

    Once a frame has come out, no denoiser is asked about it again: what was cached for it can go.
    Several denoisers (one per device, or one per remote worker) are asked at the same time, each from a thread of its
    own; the result is the same as with the first alone, as far as they agree.
    """
    if callable(denoisers):
        denoisers = [denoisers]
    sampling = Sampling(noise, windows, sigmas, len(denoisers))
    return _serial(denoisers[0], sampling) if len(denoisers) == 1 else _parallel(denoisers, sampling)


def _serial(denoise: Denoise, sampling: Sampling) -> Iterator[tuple[int, Tensor]]:
    while (task := sampling.take()) is not None:
        sampling.put(task, _ask(denoise, task))
        yield from sampling.give()


def _parallel(denoisers: Sequence[Denoise], sampling: Sampling) -> Iterator[tuple[int, Tensor]]:
    idle = list(denoisers)
    running: dict[Future[Tensor], tuple[Task, Denoise]] = {}
    with ThreadPoolExecutor(len(denoisers), thread_name_prefix="sampler") as pool:
        while not sampling.finished:
            while idle and (task := sampling.take()) is not None:
                denoise = idle.pop()
                running[pool.submit(_ask, denoise, task)] = task, denoise
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                task, denoise = running.pop(future)
                idle.append(denoise)
                sampling.put(task, future.result())
            yield from sampling.give()


@torch.no_grad()  # a thread does not inherit the caller's mode
def _ask(denoise: Denoise, task: Task) -> Tensor:
    return denoise(task.x, task.sigma, task.frames)
