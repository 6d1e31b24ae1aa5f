"""The memory plan of a rank: counted before the first step, compared with what the device says after it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from train.settings import EngineSettings

GB = 1e9


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes of one rank's device, by what they are for. host: bytes on the host instead (offload)."""

    parts: dict[str, float]
    host: float = 0.0

    @property
    def total(self) -> float:
        return sum(self.parts.values())

    def lines(self) -> list[str]:
        """The plan as a person reads it."""
        told = [f"{name:<34}{size / GB:9.3f} GB" for name, size in self.parts.items() if size]
        told.append(f"{'together':<34}{self.total / GB:9.3f} GB")
        if self.host:
            told.append(f"{'on the host':<34}{self.host / GB:9.3f} GB")
        return told


def plan(
    engine: EngineSettings, trained: int, frozen: int, encoders: int, average: bool, ranks: int, activations: int
) -> MemoryPlan:
    """The states by arithmetic, the activations as measured in the first look at the network.

    trained, frozen: parameters. encoders, activations: bytes. With bf16 a trained parameter has 2 bytes of weight and 2
    of gradient, and 12 of fp32 weight and moments; ZeRO 1 shards the 12, ZeRO 2 also the gradient, ZeRO 3 also the
    weight. fp32 accumulation beside a bf16 gradient is 4 more, which only ZeRO 2 and 3 shard. fp32 runs have one
    weight: 4, 4, 8; but ZeRO 1 to 3 keep an own copy of their share of it.
    """
    stage = engine.zero_stage
    bf16 = engine.precision == "bf16" and stage > 0
    width = 2 if bf16 else 4
    shard = ranks if stage else 1
    states = trained * (12 if stage else 8) / shard + trained * (4 if average else 0) / shard
    accumulation = trained * 4 / (ranks if stage > 1 else 1) if bf16 and engine.accumulation == "fp32" else 0
    parts = {
        "weights": (trained + frozen) * width / (ranks if stage == 3 else 1),
        "gradients": trained * width / (ranks if stage > 1 else 1),
        "fp32 accumulation": accumulation,
        "fp32 weights, moments, average": 0.0 if engine.offload else states,
        "frozen encoders": float(encoders),
        "activations": float(activations),
    }
    return MemoryPlan(parts, states if engine.offload else 0.0)


def measured(device: torch.device) -> float | None:
    """Peak bytes of this rank's device so far, or None where the device does not count them."""
    return float(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else None


def comparison(planned: MemoryPlan, peak: float | None) -> str:
    """One line after the first step."""
    if peak is None:
        return f"memory: {planned.total / GB:.3f} GB planned; this device does not count what is used"
    share = peak / planned.total
    return f"memory: {peak / GB:.2f} GB at the peak, {planned.total / GB:.2f} GB planned ({share:.0%} of the plan)"
