"""VividPose: everything that is trained, as one module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from model.conditions import ClipInputs, Conditions, KeyValue
from model.config import VividPoseConfig, as_data
from model.execution import POLICIES, CheckpointingPolicy, Execution
from model.identity import IdentityController
from model.input_check import check_inputs, check_latent
from model.pose import PoseController
from model.reference_net import ReferenceNet, spatial_transformer
from model.transformer import spatio_temporal_transformer
from model.unet import DenoisingUNet, resnet


class VividPose(nn.Module):
    """The denoising UNet, the ReferenceNet, the identity controller and the pose controller.

    `conditions` runs once per clip, `forward` once per noise level. In training mode every controller runs for every
    batch, whatever is given: each trainable parameter gets a gradient in each step (zero where nothing was given), so
    that processes with different data stay in step. In evaluation what is not given is not computed.
    """

    def __init__(self, config: VividPoseConfig) -> None:
        """Parameters as torch initialises them; `model.folder` has the published weights, `create` a seed."""
        super().__init__()
        self.config = config
        self.unet = DenoisingUNet(**as_data(config.unet))
        self.reference_net = ReferenceNet(**as_data(config.reference_net))
        self.add_controllers()
        self.execution = Execution()
        self._freeze_unused()

    @property
    def dtype(self) -> torch.dtype:
        return self.unet.conv_in.weight.dtype

    def conditions(self, inputs: ClipInputs, check: bool = True) -> Conditions:
        """Everything that does not depend on the noise level, once per clip.

        check: raise `BadInput` for wrong shapes, and for values that are not finite in a condition that is given.
        """
        given = inputs.given.on("cpu")
        if check:
            check_inputs(inputs, self.config)
        dtype = self.dtype
        # Whatever is in the place of a condition that is not given, NaN too, ends here.
        image_latent = _masked(inputs.image_latent.to(dtype), given.image)
        context = _masked(inputs.clip_embedding.to(dtype), given.clip)
        reference: dict[str, KeyValue] = {}
        if self.training or bool(given.reference.any()):
            latent = _masked(inputs.reference_latent.to(dtype), given.reference)
            reference = self._project_reference(self.reference_net(latent, context, self.execution))
        identity: dict[str, KeyValue] = {}
        if self.identity.names and (self.training or bool(given.face.any())):
            identity = self.identity(inputs.face_embedding.to(dtype), given.face)
        pose = None
        if self.training or bool(given.pose.any()):
            skeleton, rendering = _masked(inputs.skeleton, given.pose), _masked(inputs.rendering, given.pose)
            pose = _masked(self.pose_features(skeleton, rendering), given.pose)
        ids = (inputs.fps.float() - 1, inputs.motion_bucket.float(), inputs.noise_aug.float())
        added_ids = torch.stack(ids, dim=1)
        return Conditions(image_latent, context, added_ids, reference, given.reference, identity, given.face, pose)

    def pose_features(self, skeleton: Tensor, rendering: Tensor) -> Tensor:
        """(B, T, 3, H, W), 0..1, twice -> (B, T, C, h, w). Frame by frame: a long video can be done in windows."""
        features: Tensor = self.pose(skeleton.to(self.dtype), rendering.to(self.dtype), self.execution)
        return features

    def forward(self, scaled_latent: Tensor, c_noise: Tensor, conditions: Conditions) -> Tensor:
        """The network's raw output F, in the dtype of the parameters, to which the latent is converted.

        scaled_latent: (B, T, 4, h, w), c_in * x_sigma, best computed in fp32; c_noise: (B,), fp32.
        """
        check_latent(scaled_latent, c_noise, conditions, self.config)
        scaled_latent = scaled_latent.to(self.dtype)
        result: Tensor = self.unet(scaled_latent, c_noise, conditions, self.config.pose.injection, self.execution)
        return result

    def set_checkpointing(self, policy: CheckpointingPolicy) -> None:
        """none; feed_forward: about 40 % less activation memory for 6 % more work; full: the least memory."""
        if policy not in POLICIES:
            raise ValueError(f"there is no checkpointing policy {policy!r}; there are {', '.join(POLICIES)}")
        self.execution = replace(self.execution, checkpointing=policy)

    def compile_blocks(self, **options: Any) -> None:
        """Compiles each kind of block on its own (torch.compile's options): minutes less than the whole network.

        Shapes are compiled as they come: a block has a form for each width and size, with gradients and without.
        """
        torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
        options.setdefault("dynamic", False)
        blocks: tuple[Callable[..., Any], ...] = (resnet, spatio_temporal_transformer, spatial_transformer)
        self.execution = replace(self.execution, compiled={block: torch.compile(block, **options) for block in blocks})

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """The trainable parameters by part: `unet_temporal` is what SVD added to an image model (temporal resnets,
        transformers, their mixing and frame embedding), `unet_spatial` the rest of the UNet. Each is in one group."""
        groups: dict[str, list[nn.Parameter]] = {
            "unet_spatial": [],
            "unet_temporal": [],
            "reference_net": [],
            "identity": [],
            "pose": [],
        }
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                groups[group_of(name)].append(parameter)
        return groups

    def add_controllers(self) -> None:
        """New identity and pose controllers, in place of those that are there: the network is SVD again."""
        self.identity = IdentityController(self.config.identity, self.config.clip.width, self._adapted())
        self.pose = PoseController(self.config.pose, self.config.pose_channels)

    def _adapted(self) -> dict[str, int]:
        """The channels of the cross-attentions that get an identity adapter, by their names in the UNet."""
        identity = self.config.identity
        return {
            name: self.unet.get_submodule(name).to_q.out_features
            for name, _ in self.unet.named_modules()
            if name.endswith(".attn2") and (identity.temporal if ".temporal_transformer" in name else identity.spatial)
        }

    def _project_reference(self, features: dict[str, Tensor]) -> dict[str, KeyValue]:
        """Keys and values by the denoising network's own projections (Eq. 1), once for all frames and noise levels."""
        result = {}
        for name, tokens in features.items():
            attention = self.unet.get_submodule(name).attn1
            result[name] = (attention.to_k(tokens), attention.to_v(tokens))
        return result

    def _freeze_unused(self) -> None:
        """Parameters that can never get a gradient are not trainable: DDP and ZeRO would wait for them."""
        unused = list(self.reference_net.unused_modules())
        for name, module in self.unet.named_modules():
            if name.endswith(".attn2"):
                unused.append(module.to_k)
                if name not in self.identity.names:
                    block = self.unet.get_submodule(name.removesuffix(".attn2"))
                    unused += [module.to_q, block.norm2]
        for module in unused:
            module.requires_grad_(False)


def group_of(name: str) -> str:
    """The group of a parameter, from its name in `VividPose`."""
    part = name.split(".", 1)[0]
    if part != "unet":
        return part
    temporal = (".temporal_", ".time_mixer.", ".time_pos_embed.")
    return "unet_temporal" if any(mark in name for mark in temporal) else "unet_spatial"


def _masked(x: Tensor, given: Tensor) -> Tensor:
    """Zero, exactly, where not given: (B, ...)."""
    if bool(given.all()):
        return x
    return x.where(given.to(x.device).reshape(-1, *[1] * (x.ndim - 1)), torch.zeros((), dtype=x.dtype, device=x.device))
