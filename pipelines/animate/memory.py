"""How much memory sampling needs, by arithmetic, and how to work within what there is.

Nothing here depends on a video's length: what is held at a time is a window's activations, the frames of the wave front
and one call of the decoder.

The factors were counted, not timed: every tensor that lives at once in a forward pass, at the paper's size and at the
tiny one (benchmarks/animate.py counts them again).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, cast

from pipelines.animate.model_source import ModelFacts
from pipelines.animate.sampling import SamplingPlan
from pipelines.animate.settings import AnimateSettings
from pipelines.engine.atomic import canonical_json, digest
from pipelines.engine.setup_error import SetupError
from pipelines.engine.storage import Store
from pipelines.settings import plain

GB = 1e9
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
# Live tensors at the peak, in units of one full-resolution feature map of all frames (both halves of guidance).
UNET_FACTOR = 25.0
REFERENCE_FACTOR = 64.0
# In units of a feature map of the decoder's first width at the pictures' size, for each frame of a call.
DECODER_FACTOR = 8.0
ENCODER_FACTOR = 5.1
# In units of a frame's maps in fp32.
POSE_FACTOR = 15.0
# What allocators waste, and what belongs to the process rather than to tensors.
SLACK = 1.15
RESERVE = {"cuda": 1.0 * GB, "cpu": 0.5 * GB}


class NoRoom(RuntimeError):
    """No way of working fits into the memory."""


Key = tuple[int, int, int]
"""Width, height and steps: what the memory of a job depends on beside the model."""


@dataclass(frozen=True)
class Weights:
    """Parameters by part, and what else of the model the arithmetic needs."""

    unet: int
    reference_net: int
    controllers: int
    vae: int
    clip: int
    channels: int
    decoder_channels: int
    pose_channels: int
    latent_factor: int
    latent_channels: int
    reference_tokens: float
    vae_fp32: bool

    def need(self, plan: SamplingPlan, key: Key) -> dict[str, float]:
        """Bytes on the device by what they are for. Activations of different moments are not added up: the largest
        counts."""
        width, height, steps = key
        size = BYTES[plan.precision]
        vae_size = 4 if self.vae_fp32 and plan.precision == "fp16" else size
        positions = (width // self.latent_factor) * (height // self.latent_factor)
        halves = 2 if plan.batched_guidance else 1
        held = self._frames_held(plan, steps)
        visiting = 0 if plan.offload else self.reference_net + self.clip
        moments = {
            "a window of the UNet": UNET_FACTOR * halves * plan.window * positions * self.channels * size,
            "the ReferenceNet": REFERENCE_FACTOR * positions * self.channels * size
            + (self.reference_net + self.clip - visiting) * size,
            "decoding": DECODER_FACTOR * plan.decode_frames * width * height * self.decoder_channels * vae_size,
            "encoding": ENCODER_FACTOR * width * height * self.decoder_channels * vae_size,
            "pose maps": POSE_FACTOR * plan.window * 3 * width * height * 4,
        }
        largest = max(moments, key=lambda name: moments[name])
        return {
            "weights": (self.unet + self.controllers + visiting) * size + self.vae * vae_size,
            "the reference's keys and values": self.reference_tokens * positions * (1 + halves) * size,
            f"{held} frames under way": held
            * positions
            * (
                self.pose_channels * size + self.latent_channels * 4 * (2 + plan.window // (plan.window - plan.overlap))
            ),
            largest: moments[largest],
        }

    @staticmethod
    def _frames_held(plan: SamplingPlan, steps: int) -> int:
        """The wave front: see `model.wavefront.Wavefront.limit`."""
        stride = plan.window - plan.overlap
        reach = (plan.window - 1) // stride
        return int((reach * (steps - 1) + 1) * stride + plan.overlap)


def total(need: dict[str, float]) -> float:
    return SLACK * sum(need.values())


class Planner:
    """Gives each job its plan. A plan that was made once for a work folder is kept there, so that a job interrupted in
    richer times goes on in the same way, with the same result."""

    def __init__(self, settings: AnimateSettings, model: ModelFacts, work: Store, tell: Callable[[str], None]) -> None:
        self.settings, self.model, self.work, self.tell = settings, model, work, tell
        self.device, self.precision = chosen_device(settings)
        self.plans: dict[Key, SamplingPlan] = {}

    def __call__(self, size: tuple[int, int], steps: int) -> SamplingPlan:
        """Raises `NoRoom` where nothing fits."""
        key = (size[0], size[1], steps)
        if key not in self.plans:
            self.plans[key] = self._kept(key)
        return self.plans[key]

    def _kept(self, key: Key) -> SamplingPlan:
        asked = [self.model.hash, plain(self.settings.memory), self.device, self.precision, list(key)]
        name = f"plan/memory-{digest(asked)[:16]}.json"
        try:
            return SamplingPlan(**json.loads(self.work.get(name)))
        except FileNotFoundError:
            pass
        plan = self._fitting(key)
        if self.work.put_new(name, canonical_json(asdict(plan))):
            return plan
        return SamplingPlan(**json.loads(self.work.get(name)))

    def _fitting(self, key: Key) -> SamplingPlan:
        weights = weights_of(self.model)
        budget = self._budget()
        tried = []
        for plan in ways(self.settings, self.model, self.device, self.precision):
            need = weights.need(plan, key)
            if total(need) <= budget:
                self._tell(plan, key, need, budget)
                return plan
            tried.append((total(need), plan))
        least = min(need for need, _ in tried)
        raise NoRoom(
            f"{key[0]}x{key[1]} needs at least {least / GB:.1f} GB, and {budget / GB:.1f} GB can be planned "
            "for: give the jobs a smaller size, free some memory, or say with --memory how much may be used"
        )

    def _budget(self) -> float:
        asked = self.settings.memory.budget_gb
        if asked != "auto":
            return float(asked) * GB
        return max(0.0, free_bytes(self.device) - RESERVE[self.device.partition(":")[0]])

    def _tell(self, plan: SamplingPlan, key: Key, need: dict[str, float], budget: float) -> None:
        guidance = "both halves of guidance at once" if plan.batched_guidance else "halves of guidance in turn"
        offload = ", encoders wait on the CPU" if plan.offload else ""
        self.tell(
            f"{'memory':<10} {total(need) / GB:.2f} of {budget / GB:.2f} GB for {key[0]}x{key[1]}, {key[2]} steps: "
            f"{plan.device}, {plan.precision}, windows of {plan.window} sharing {plan.overlap}, {guidance}, "
            f"decoding {plan.decode_frames} at a time{offload}"
        )
        parts = ", ".join(f"{name} {size / GB:.2f}" for name, size in need.items())
        self.tell(f"{'':<10} {parts} GB, and {SLACK - 1:.0%} slack; the same for any length of video")


def ways(settings: AnimateSettings, model: ModelFacts, device: str, precision: str) -> Iterator[SamplingPlan]:
    """From the fastest to the smallest."""
    window = settings.memory.window or model.frames
    overlap = settings.memory.overlap if settings.memory.overlap is not None else min(4, window // 2)
    if not 0 <= overlap < window:
        raise SetupError(f"memory.overlap: expected 0 to {window - 1}, less than the window, got {overlap}")
    full = SamplingPlan(device, precision, window, overlap, max(window, 5), 2, True, False)
    cuda = device.startswith("cuda")
    yield full
    if cuda:
        yield replace(full, offload=True)
    for frames in sorted({full.decode_frames, 8, 6, 5}, reverse=True):
        if frames <= full.decode_frames:
            yield replace(full, offload=cuda, decode_frames=frames)
    in_turn = replace(full, offload=cuda, batched_guidance=False, decode_frames=min(5, full.decode_frames))
    yield in_turn
    if settings.memory.window is None:
        for short in (window // 2, window // 4):
            if short > 2:
                yield replace(in_turn, window=short, overlap=min(overlap, short // 2))


def chosen_device(settings: AnimateSettings) -> tuple[str, str]:
    """(device, precision). Raises `SetupError` for a device that is not there."""
    import torch

    device = settings.model.device
    kind = device.partition(":")[0]
    if kind not in ("auto", "cpu", "cuda"):
        raise SetupError(f"model.device: expected auto, cpu, cuda or cuda:N, got {device!r}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif kind == "cuda" and not torch.cuda.is_available() and settings.memory.budget_gb == "auto":
        raise SetupError(
            "model.device: there is no GPU here; where the actors have one, say with --memory how many GB it has"
        )
    precision = settings.model.precision
    if precision == "auto":
        precision = "bf16" if device.startswith("cuda") else "fp32"
    if precision == "fp16" and device == "cpu":
        raise SetupError("model.precision: fp16 is for GPUs; on a CPU take fp32 or bf16")
    return device, precision


def free_bytes(device: str) -> float:
    """What could be allocated now."""
    if device.startswith("cuda"):
        import torch

        return float(min(torch.cuda.mem_get_info(number)[0] for number in _numbers(device)))
    import psutil

    return float(psutil.virtual_memory().available)


def _numbers(device: str) -> Iterable[int]:
    import torch

    named = device.partition(":")[2]
    return [int(named)] if named else range(torch.cuda.device_count())


@lru_cache
def weights_of(model: ModelFacts) -> Weights:
    """Counted on networks without memory; nothing is read but the configurations."""
    import torch

    from model.config import load_config, parse_config
    from model.vividpose import VividPose
    from model.weight_files import read_json

    if model.folder is None:
        config = load_config("tiny")
    else:
        from pathlib import Path

        index = read_json(Path(model.folder) / "model_index.json", "a VividPose folder")
        config = parse_config(index.get("config"), model.folder)
    with torch.device("meta"):
        net = VividPose(config)
    vae, vae_config = _vae(model)

    def count(part: Any) -> int:
        return sum(parameter.numel() for parameter in part.parameters())

    # Tokens of a block at level l: positions / 4^l, twice (keys, values), as wide as the block.
    tokens = 0.0
    for name in (name for name, _ in net.unet.named_modules() if name.endswith(".attn1")):
        if ".temporal_transformer" in name:
            continue
        level = _level(name, len(config.unet.block_out_channels))
        tokens += 2 * net.unet.get_submodule(name).to_k.out_features / 4**level
    return Weights(
        unet=count(net.unet),
        reference_net=count(net.reference_net),
        controllers=count(net.identity) + count(net.pose),
        vae=vae,
        clip=_clip(model),
        channels=config.unet.block_out_channels[0],
        decoder_channels=int(vae_config["block_out_channels"][0]),
        pose_channels=config.pose_channels,
        latent_factor=config.vae.scale_factor,
        latent_channels=config.vae.latent_channels,
        reference_tokens=tokens,
        vae_fp32=bool(vae_config.get("force_upcast", True)),
    )


def _level(name: str, levels: int) -> int:
    """At which halving of the latent a block of the UNet works."""
    part, number = name.split(".")[:2]
    if part == "mid_block":
        return levels - 1
    return int(number) if part == "down_blocks" else levels - 1 - int(number)


def _vae(model: ModelFacts) -> tuple[int, dict[str, Any]]:
    import torch
    from diffusers.models import AutoencoderKLTemporalDecoder

    loaded = cast(dict[str, Any], AutoencoderKLTemporalDecoder.load_config(f"{model.encoders}/vae"))
    with torch.device("meta"):
        net = AutoencoderKLTemporalDecoder.from_config(loaded)
    return sum(parameter.numel() for parameter in net.parameters()), loaded


def _clip(model: ModelFacts) -> int:
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig.from_pretrained(f"{model.encoders}/image_encoder")
    with torch.device("meta"):
        net = CLIPVisionModelWithProjection(config)
    return sum(parameter.numel() for parameter in net.parameters())
