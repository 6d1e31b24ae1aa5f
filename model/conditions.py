"""What flows between the parts of the model: a clip's inputs, and the conditions computed from them once per clip.

B clips, T frames, pictures of H x W pixels, latents of h x w = H/8 x W/8.
"""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True)
class ClipInputs:
    """A clip's inputs, before any trainable network ran.

    reference_latent: (B, 4, h, w), the VAE's mode of the clean reference *times* its scaling factor: for the ReferenceNet.
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
    reference_given: bool (B,).
    identity: for each cross-attention, spatial and temporal, by name, keys and values (B, M, C) of the identity tokens
    (Eq. 3); empty when no clip has a face.
    face_given: bool (B,).
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
