"""The model: forward, training step, sampling: time, TFLOP, share of the matrix rate, memory, beside a naive baseline.

    OMP_NUM_THREADS=1 python -m benchmarks.model [--no-counts] [--config tiny] [--frames 14]

Runs `tiny` on the CPU, or `vividpose` in bf16 on random weights where CUDA is there, then counts the full size on the
meta device. The matrix rate is measured in the same run. "naive" is what most public code does: the ReferenceNet, the
identity and the pose encoders run again at every noise level, for both halves of the guidance. Memory: the most above
what lay there before (CUDA's allocator; on the CPU the process, looked at every 5 ms).
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import platform
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.model_counts import clip_inputs, counted, noisy, table, tflop, training_loss
from model import edm
from model.animator import denoiser
from model.conditions import ClipInputs
from model.config import VividPoseConfig, load_config
from model.execution import POLICIES
from model.guidance import Denoise, Guidance, guided
from model.schedule import karras_sigmas
from model.vividpose import VividPose


@dataclass(frozen=True)
class Machine:
    name: str
    device: str
    dtype: torch.dtype

    def synchronise(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def matrix_rate(self) -> float:
        """TFLOP/s of a large product in this dtype, the best of five."""
        side = 8192 if self.device == "cuda" else 1024
        a, b = (torch.randn(side, side, device=self.device, dtype=self.dtype) for _ in range(2))
        return 2 * side**3 / 1e12 / min(self.seconds(lambda: a @ b, 5))

    def seconds(self, work: Callable[[], Any], times: int) -> list[float]:
        work()
        result = []
        for _ in range(times):
            self.synchronise()
            start = time.perf_counter()
            work()
            self.synchronise()
            result.append(time.perf_counter() - start)
        return result

    def peak(self, work: Callable[[], Any]) -> float:
        """GB above what lay there before."""
        if self.device == "cuda":
            self.synchronise()
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            work()
            self.synchronise()
            return (torch.cuda.max_memory_allocated() - before) / 1e9
        process, done, most = psutil.Process(), threading.Event(), 0
        before = process.memory_info().rss

        def watch() -> None:
            nonlocal most
            while not done.wait(0.005):
                most = max(most, process.memory_info().rss)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            work()
        finally:
            done.set()
            watcher.join()
        return max(0, most - before) / 1e9


def this_machine() -> Machine:
    if torch.cuda.is_available():
        return Machine(torch.cuda.get_device_name(), "cuda", torch.bfloat16)
    return Machine(
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads", "cpu", torch.float32
    )


def naive(model: VividPose, inputs: ClipInputs, guidance: Guidance) -> Denoise:
    """Everything again at every noise level, for both halves of the guidance."""
    twice = ClipInputs(*(_twice(getattr(inputs, field.name)) for field in dataclasses.fields(inputs)))

    @torch.no_grad()
    def predict(x: torch.Tensor, sigma: float, frames: range, conditional: tuple[bool, ...]) -> torch.Tensor:
        both = model.conditions(twice, check=False)
        alone = dataclasses.replace(both, reference_given=torch.tensor([False, True]))
        level = edm.c_noise(sigma).to(x.device).expand(2)
        predicted = model(edm.scaled(x, sigma).repeat(2, 1, 1, 1, 1), level, alone)
        return torch.stack([edm.denoised(half, x, sigma) for half in predicted.chunk(2)])

    return guided(predict, guidance)


def _twice(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return torch.cat([value, value])
    return type(value)(*(_twice(getattr(value, field.name)) for field in dataclasses.fields(value)))


def sampled(denoise: Denoise, x: torch.Tensor, steps: int) -> torch.Tensor:
    sigmas = karras_sigmas(steps)
    for sigma, following in itertools.pairwise(sigmas):
        predicted = denoise(x, sigma, range(x.shape[1]))
        x = predicted + (x - predicted) * (following / sigma)
    return x


def measure(config: VividPoseConfig, machine: Machine, frames: int, steps: int, size: tuple[int, int]) -> Table:
    rate = machine.matrix_rate()
    with torch.device(machine.device):
        model = VividPose(config).to(machine.device, machine.dtype)
    inputs = clip_inputs(config, frames, size, machine.device, machine.dtype)
    x = noisy(config, frames, size, machine.device)
    title = (
        f"{config.name}: {frames} frames, {size[0]}x{size[1]}, {str(machine.dtype)[6:]}, {machine.name}; "
        f"matrix rate {rate:.3g} TFLOP/s"
    )
    result = Table("", "seconds", "TFLOP", "share of rate", "peak GB", "naive / ours", title=title)

    def row(name: str, work: Callable[[], Any], naive_seconds: float | None = None, times: int = 2) -> float:
        seconds = min(machine.seconds(work, times))
        work_done = tflop(work)
        share = f"{100 * work_done / seconds / rate:.0f} %"
        ratio = "" if naive_seconds is None else f"{naive_seconds / seconds:.2f}"
        result.add_row(name, f"{seconds:.3f}", f"{work_done:.3g}", share, f"{machine.peak(work):.3f}", ratio)
        return seconds

    def forward_backward() -> None:
        training_loss(model, inputs, x).backward()
        model.zero_grad(set_to_none=True)

    def sample_naive() -> torch.Tensor:
        return sampled(naive(model, inputs, Guidance()), x, steps)

    def sample_ours() -> torch.Tensor:
        with torch.no_grad():
            conditions = model.conditions(inputs, check=False)
        return sampled(denoiser(model, conditions.with_pose(None), _Kept(conditions.pose), Guidance(), True), x, steps)

    model.eval()
    with torch.no_grad():
        conditions = model.conditions(inputs, check=False)
        level = torch.zeros(1, device=machine.device)
        row("UNet forward, given the conditions", lambda: model(x, level, conditions))
    slow = row(f"sampling, {steps} steps, naive", sample_naive, times=1)
    row(f"sampling, {steps} steps", sample_ours, slow, times=1)
    model.train()
    for policy in POLICIES:
        model.set_checkpointing(policy)
        row(f"forward and backward, recomputing: {policy}", forward_backward)
    model.set_checkpointing("none")
    _convolutions_in(model, torch.channels_last)
    row("the same, none, channels_last", forward_backward)
    if machine.device == "cuda":
        _convolutions_in(model, torch.contiguous_format)
        model.compile_blocks()
        row("the same, none, compiled blocks", forward_backward)
        model.eval()
        row(f"sampling, {steps} steps, compiled blocks", sample_ours, slow, times=1)
    return result


def _convolutions_in(model: VividPose, memory_format: torch.memory_format) -> None:
    """The 2-D ones: a memory format of four dimensions does not fit the temporal convolutions."""
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.to(memory_format=memory_format)


class _Kept:
    """Pose features of a clip that is one window."""

    def __init__(self, pose: torch.Tensor) -> None:
        self._pose = pose

    def of(self, frames: range) -> torch.Tensor:
        return self._pose[:, frames.start : frames.stop]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", help="tiny or vividpose; by default what the machine can do")
    parser.add_argument("--frames", type=int, default=14)
    parser.add_argument("--steps", type=int, help="of sampling: 25 with a GPU, 4 without")
    parser.add_argument("--no-counts", action="store_true", help="leave out the counts of the full size")
    options = parser.parse_args()
    console, machine = Console(), this_machine()
    full = (options.config or ("vividpose" if machine.device == "cuda" else "tiny")) == "vividpose"
    config = load_config("vividpose" if full else "tiny")
    steps = options.steps or (25 if machine.device == "cuda" else 4)
    console.print(measure(config, machine, options.frames, steps, (512, 768) if full else (64, 96)))
    if not options.no_counts:
        console.print(table(counted(load_config("vividpose"))))


if __name__ == "__main__":
    main()
