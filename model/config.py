"""What a VividPose model is made of: one typed configuration, read from one YAML file.

The `unet` and `reference_net` sections have diffusers' own names, so that they are the `config.json` of the parts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

CONFIGS = Path(__file__).parent / "configs"
_STRICT = ConfigDict(extra="forbid")


class BadConfig(ValueError):
    """A model configuration that cannot be read or whose parts do not fit together."""


@dataclass(frozen=True)
class UNetConfig:
    """diffusers' `UNetSpatioTemporalConditionModel`: the denoising network."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    in_channels: int
    out_channels: int
    block_out_channels: tuple[int, ...]
    down_block_types: tuple[str, ...]
    up_block_types: tuple[str, ...]
    layers_per_block: int
    transformer_layers_per_block: int
    num_attention_heads: tuple[int, ...]
    cross_attention_dim: int
    addition_time_embed_dim: int
    projection_class_embeddings_input_dim: int
    num_frames: int
    sample_size: int


@dataclass(frozen=True)
class ReferenceNetConfig:
    """diffusers' `UNet2DConditionModel`. `attention_head_dim` is, as diffusers names it, the number of heads."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    in_channels: int
    out_channels: int
    block_out_channels: tuple[int, ...]
    down_block_types: tuple[str, ...]
    up_block_types: tuple[str, ...]
    mid_block_type: str
    layers_per_block: int
    transformer_layers_per_block: int
    attention_head_dim: tuple[int, ...]
    cross_attention_dim: int
    use_linear_projection: bool
    only_cross_attention: bool
    dual_cross_attention: bool
    upcast_attention: bool
    act_fn: str
    norm_num_groups: int
    norm_eps: float
    downsample_padding: int
    mid_block_scale_factor: float
    center_input_sample: bool
    flip_sin_to_cos: bool
    freq_shift: int
    sample_size: int


@dataclass(frozen=True)
class IdentityConfig:
    """embedding: the face vector's length. tokens: how many tokens it becomes. spatial, temporal: which of the UNet's
    cross-attentions get an adapter beside them (the paper: all)."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    embedding: int
    tokens: int
    spatial: bool
    temporal: bool


@dataclass(frozen=True)
class PoseConfig:
    """channels: of each encoder, from full resolution to the latent's, halving the size between them. attention_layers,
    heads: self-attention at half the latent's resolution. injection: where the features are added."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    channels: tuple[int, ...]
    attention_layers: int
    heads: int
    injection: Literal["conv_in", "latent"]


@dataclass(frozen=True)
class VaeConfig:
    """scale_factor: pixels per latent, along each side. scaling_factor: what latents are multiplied by."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    latent_channels: int
    scale_factor: int
    scaling_factor: float


@dataclass(frozen=True)
class ClipConfig:
    """width: of the image embedding."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    width: int


@dataclass(frozen=True)
class VividPoseConfig:
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    name: str
    unet: UNetConfig
    reference_net: ReferenceNetConfig
    identity: IdentityConfig
    pose: PoseConfig
    vae: VaeConfig
    clip: ClipConfig

    @property
    def latent_multiple(self) -> int:
        """The sides of a latent are multiples of this: each level but the last halves them."""
        return int(2 ** (len(self.unet.block_out_channels) - 1))

    @property
    def size_multiple(self) -> int:
        """The sides of a picture, in pixels, are multiples of this: 64 at full size."""
        return self.vae.scale_factor * self.latent_multiple

    @property
    def pose_channels(self) -> int:
        """Channels of the pose features: as wide as what they are added to."""
        return self.unet.block_out_channels[0] if self.pose.injection == "conv_in" else self.vae.latent_channels


def load_config(name_or_path: str | Path) -> VividPoseConfig:
    """ "vividpose", "tiny", or the path of a YAML file. `BadConfig` names the file and the key."""
    path = CONFIGS / f"{name_or_path}.yaml"
    if not path.is_file():
        path = Path(name_or_path)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        known = ", ".join(sorted(file.stem for file in CONFIGS.glob("*.yaml")))
        raise BadConfig(f"no model configuration {name_or_path}: give one of {known}, or a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path} is not a YAML file: {error}") from error
    return parse_config(data, str(path))


def parse_config(data: Any, where: str) -> VividPoseConfig:
    """A configuration from plain data, checked. `BadConfig` starts with `where`."""
    if not isinstance(data, Mapping):
        raise BadConfig(f"{where}: expected a mapping of sections, found {type(data).__name__}")
    try:
        config = TypeAdapter(VividPoseConfig).validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BadConfig(f"{where}: {key}: {first['msg']}, got {first['input']!r}") from error
    problem = _misfit(config)
    if problem:
        raise BadConfig(f"{where}: {problem}")
    return config


def as_data(config: Any) -> dict[str, Any]:
    """Plain data, as it is written to YAML and JSON: tuples as lists."""
    return {
        key: as_data(value) if isinstance(value, dict) else list(value) if isinstance(value, tuple) else value
        for key, value in (config if isinstance(config, dict) else dataclasses.asdict(config)).items()
    }


def _misfit(config: VividPoseConfig) -> str | None:
    """The first reason why the parts do not fit together, or None."""
    unet, reference, latents = config.unet, config.reference_net, config.vae.latent_channels
    pixels, heads = config.vae.scale_factor, unet.num_attention_heads
    pairs = [
        ("unet.in_channels", unet.in_channels, "twice vae.latent_channels", 2 * latents),
        ("unet.out_channels", unet.out_channels, "vae.latent_channels", latents),
        ("reference_net.in_channels", reference.in_channels, "vae.latent_channels", latents),
        ("unet.cross_attention_dim", unet.cross_attention_dim, "clip.width", config.clip.width),
        ("reference_net.cross_attention_dim", reference.cross_attention_dim, "clip.width", config.clip.width),
        ("2 ** (len(pose.channels) - 1)", 2 ** (len(config.pose.channels) - 1), "vae.scale_factor", pixels),
        (
            "unet.projection_class_embeddings_input_dim",
            unet.projection_class_embeddings_input_dim,
            "3 * unet.addition_time_embed_dim",
            3 * unet.addition_time_embed_dim,
        ),
        ("reference_net.block_out_channels", reference.block_out_channels, "unet's", unet.block_out_channels),
        ("reference_net.layers_per_block", reference.layers_per_block, "unet's", unet.layers_per_block),
        ("reference_net.attention_head_dim", reference.attention_head_dim, "unet.num_attention_heads", heads),
        (
            "reference_net.down_block_types",
            tuple(kind.startswith("CrossAttn") for kind in reference.down_block_types),
            "unet's (with attention or without)",
            tuple(kind.startswith("CrossAttn") for kind in unet.down_block_types),
        ),
        (
            "reference_net.up_block_types",
            tuple(kind.startswith("CrossAttn") for kind in reference.up_block_types),
            "unet's (with attention or without)",
            tuple(kind.startswith("CrossAttn") for kind in unet.up_block_types),
        ),
    ]
    for left, found, right, expected in pairs:
        if found != expected:
            return f"{left} must equal {right}: {found} is not {expected}"
    if len({len(unet.block_out_channels), len(heads), len(unet.down_block_types), len(unet.up_block_types)}) != 1:
        return "unet: block_out_channels, num_attention_heads, down_block_types, up_block_types differ in length"
    for channels, number in zip(unet.block_out_channels, heads, strict=True):
        if channels % 32 or channels % number:
            return f"unet.block_out_channels: {channels} must be a multiple of 32 (groups) and of its {number} heads"
    if config.identity.tokens < 1:
        return f"identity.tokens must be at least 1, not {config.identity.tokens}"
    if config.pose.channels[-1] % config.pose.heads:
        return f"pose.channels: the last, {config.pose.channels[-1]}, must be a multiple of pose.heads"
    return None
