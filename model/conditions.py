"""What flows between the parts of the model: a clip's inputs, and the conditions computed from them once per clip.

B clips, T frames, pictures of H x W pixels, latents of h x w = H/8 x W/8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

KeyValue = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Given:
    """Which conditions each clip has; bool (B,) each. A condition that is not given has no influence whatever is in its
    place: SVD's zeros for image and CLIP, no reference tokens, no identity tokens, no pose residual."""

    image: Tensor
    clip: Tensor
    reference: Tensor
    face: Tensor
    pose: Tensor

    def on(self, device: torch.device | str) -> Given:
        return Given(*(getattr(self, field.name).to(device) for field in fields(self)))


@dataclass(frozen=True)
class ClipInputs:
    """A clip's inputs, before any trainable network ran.

    reference_latent: (B, 4, h, w), the VAE's mode of the clean reference *times* its scaling factor; ReferenceNet's.
    image_latent: (B, 4, h, w), the VAE's mode of the noise-augmented reference, *not* scaled: SVD's image condition.
    clip_embedding: (B, 1, 1024), CLIP's image embedding of the clean reference.
    face_embedding: (B, 512), ArcFace, length 1; anything where `given.face` is False.
    skeleton, rendering: (B, T, 3, H, W), 0..1, RGB.
    fps, motion_bucket, noise_aug: (B,), SVD's added ids before its "fps - 1": frames per second, 0..255, sigma.
    """

    reference_latent: Tensor
    image_latent: Tensor
    clip_embedding: Tensor
    face_embedding: Tensor
    skeleton: Tensor
    rendering: Tensor
    fps: Tensor
    motion_bucket: Tensor
    noise_aug: Tensor
    given: Given


@dataclass(frozen=True)
class Conditions:
    """What the denoising UNet is given beside the noisy latent and the noise level. Computed once per clip.

    image_latent: (B, 4, h, w), zero where not given.
    context: (B, 1, 1024), CLIP, zero where not given (Eq. 2).
    added_ids: (B, 3), fps - 1, motion bucket, noise augmentation.
    reference: for each spatial transformer block, by name, keys and values (B, N, C) of the reference's tokens (Eq. 1),
    already projected by that block's own `to_k` and `to_v`; empty when no clip has a reference.
    reference_given: bool (B,), on the CPU.
    identity: for each cross-attention, spatial and temporal, by name, keys and values (B, M, C) of the identity tokens
    (Eq. 3), values zero where a clip has no face; empty when none has one.
    face_given: bool (B,), on the CPU.
    pose: (B, T, C, h, w), added behind `conv_in` (C = 320) or to the noisy latent (C = 4) (Eq. 5); None without pose.
    """

    image_latent: Tensor
    context: Tensor
    added_ids: Tensor
    reference: dict[str, KeyValue]
    reference_given: Tensor
    identity: dict[str, KeyValue]
    face_given: Tensor
    pose: Tensor | None

    def unconditional(self) -> Conditions:
        """What classifier-free guidance compares with: zeros for image and CLIP (SVD), no reference, no face; the pose
        stays, and is the same tensor."""
        nobody = torch.zeros_like(self.reference_given)
        return replace(
            self,
            image_latent=torch.zeros_like(self.image_latent),
            context=torch.zeros_like(self.context),
            reference={},
            reference_given=nobody,
            identity={},
            face_given=nobody,
        )

    def stacked(self, other: Conditions) -> Conditions:
        """Both along the batch, `self` first: two halves of guidance in one forward. Where only one has a reference or
        a face, the other gets zeros that are not looked at."""
        return Conditions(
            image_latent=torch.cat([self.image_latent, other.image_latent]),
            context=torch.cat([self.context, other.context]),
            added_ids=torch.cat([self.added_ids, other.added_ids]),
            reference=_stacked(self.reference, other.reference, len(self.context), len(other.context)),
            reference_given=torch.cat([self.reference_given, other.reference_given]),
            identity=_stacked(self.identity, other.identity, len(self.context), len(other.context)),
            face_given=torch.cat([self.face_given, other.face_given]),
            pose=_stacked_pose(self.pose, other.pose),
        )

    def with_pose(self, pose: Tensor | None) -> Conditions:
        """The same clip with other pose features (B, T, C, h, w): a window of a long video."""
        return replace(self, pose=pose)

    def frames(self, window: slice | Sequence[int] | Tensor) -> Conditions:
        """Only these frames of the pose; all else belongs to the clip."""
        return self if self.pose is None else self.with_pose(self.pose[:, window])

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Conditions:
        """Moved and converted; the added ids stay fp32, and what is given stays on the CPU, where it is looked at."""

        def move(x: Tensor) -> Tensor:
            return x.to(device=device, dtype=dtype)

        return replace(
            self,
            image_latent=move(self.image_latent),
            context=move(self.context),
            added_ids=self.added_ids.to(device=device),
            reference={name: (move(k), move(v)) for name, (k, v) in self.reference.items()},
            identity={name: (move(k), move(v)) for name, (k, v) in self.identity.items()},
            pose=None if self.pose is None else move(self.pose),
        )


def _stacked(
    first: dict[str, KeyValue], second: dict[str, KeyValue], clips_first: int, clips_second: int
) -> dict[str, KeyValue]:
    def absent(like: Tensor, clips: int) -> Tensor:
        return like.new_zeros(clips, *like.shape[1:])

    result = {}
    for name in first or second:
        k1, v1 = first[name] if first else (absent(x, clips_first) for x in second[name])
        k2, v2 = second[name] if second else (absent(x, clips_second) for x in first[name])
        result[name] = (torch.cat([k1, k2]), torch.cat([v1, v2]))
    return result


def _stacked_pose(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    if first is None and second is None:
        return None
    if first is not None and second is not None:
        return torch.cat([first, second])
    present = first if first is not None else second
    assert present is not None
    nothing = torch.zeros_like(present)
    return torch.cat([present, nothing] if first is not None else [nothing, present])
