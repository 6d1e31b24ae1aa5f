"""How many bytes of tensors live at once in the forward passes of sampling: counted on fake tensors, at any size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from diffusers.models import AutoencoderKLTemporalDecoder
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from model.conditions import Conditions
from model.config import VividPoseConfig, load_config
from model.encoders import TINY
from model.vividpose import VividPose

SVD_VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}


class Peak(TorchDispatchMode):
    """The most bytes that results of operations, and what they are views of, had at one moment; parameters apart."""

    def __init__(self, parameters: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.bytes = 0
        self._known = {p.untyped_storage()._cdata for p in parameters}
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        result = function(*arguments, **(named or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                if storage._cdata not in self._known:
                    self._live[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self._live = {key: (ref, size) for key, (ref, size) in self._live.items() if not ref.expired()}
        self.bytes = max(self.bytes, sum(size for _, size in self._live.values()))
        return result


def count(name: str) -> Iterator[tuple[str, int, float]]:
    """(part, bytes at the peak, the same in the part's unit) at the size the model was made for, batched guidance."""
    config = load_config(name)
    side = config.unet.sample_size * config.vae.scale_factor
    width, height, frames = side * 2 // 3, side, config.unet.num_frames
    dtype = torch.float32 if name == "tiny" else torch.bfloat16
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        yield from _networks(config, width, height, frames, dtype)
        loaded = AutoencoderKLTemporalDecoder.load_config(TINY / "vae") if name == "tiny" else SVD_VAE
        vae = _made(lambda: AutoencoderKLTemporalDecoder.from_config(loaded), dtype)
        unit = width * height * vae.config.block_out_channels[0] * dtype.itemsize
        latents = torch.zeros(
            frames, 4, height // config.vae.scale_factor, width // config.vae.scale_factor, dtype=dtype
        )
        yield _measured("decoding", vae, lambda: vae.decode(latents, num_frames=frames), unit * frames)
        yield _measured("encoding", vae, lambda: vae.encode(torch.zeros(1, 3, height, width, dtype=dtype)), unit)


def _networks(
    config: VividPoseConfig, width: int, height: int, frames: int, dtype: torch.dtype
) -> Iterator[tuple[str, int, float]]:
    model = _made(lambda: VividPose(config), dtype)
    factor, channels = config.vae.scale_factor, config.vae.latent_channels
    w, h = width // factor, height // factor
    unit = config.unet.block_out_channels[0] * w * h * dtype.itemsize
    context = torch.zeros(2, 1, config.clip.width, dtype=dtype)
    reference: dict[str, Any] = {}

    def refer() -> None:
        features = model.reference_net(torch.zeros(1, channels, h, w, dtype=dtype), context[:1], model.execution)
        projected = model._project_reference(features)
        reference.update({name: tuple(torch.cat([y, y]) for y in pair) for name, pair in projected.items()})

    yield _measured("the ReferenceNet", model, refer, unit)
    pose = torch.zeros(2, frames, config.pose_channels, h, w, dtype=dtype)
    everything = torch.ones(2, dtype=torch.bool)
    conditions = Conditions(
        torch.zeros(2, channels, h, w, dtype=dtype),
        context,
        torch.zeros(2, 3),
        reference,
        everything,
        {},
        ~everything,
        pose,
    )
    # Whether a reference is given is looked at on the CPU, which a tensor without values cannot answer.
    import model.unet as denoising

    looked, denoising._given = denoising._given, lambda given, device: None
    try:
        noisy = torch.zeros(2, frames, channels, h, w, dtype=dtype)
        call = lambda: model.unet(noisy, torch.zeros(2), conditions, config.pose.injection, model.execution)  # noqa: E731
        yield _measured("a window of the UNet", model, call, unit * 2 * frames)
    finally:
        denoising._given = looked
    maps = torch.zeros(1, frames, 3, height, width)
    yield _measured("pose maps", model, lambda: model.pose_features(maps, maps), frames * 3 * width * height * 4)


def _made(make: Callable[[], Any], dtype: torch.dtype) -> Any:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return make().eval()
    finally:
        torch.set_default_dtype(before)


def _measured(part: str, net: Any, call: Callable[[], Any], unit: float) -> tuple[str, int, float]:
    peak = Peak(net.parameters())
    with peak:
        call()
    return part, peak.bytes, peak.bytes / unit
