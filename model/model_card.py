"""The README of a VividPose folder."""

from __future__ import annotations

from model.config import VividPoseConfig

_CARD = """---
library_name: diffusers
pipeline_tag: image-to-video
tags: [vividpose, human-image-animation, stable-video-diffusion]
---

# VividPose ({name})

Animates the person of one picture by a sequence of poses (skeleton maps and SMPL-X renderings), after
"VividPose: Advancing Stable Video Diffusion for Realistic Human Image Animation".

| part | what it is |
|---|---|
| `unet/` | denoising UNet, a diffusers `UNetSpatioTemporalConditionModel` (Stable Video Diffusion) |
| `reference_net/` | ReferenceNet, a diffusers `UNet2DConditionModel` (Stable Diffusion 2.1) |
| `identity/` | face vector of length {face} -> {tokens} tokens, keys and values beside every cross-attention |
| `pose/` | two encoders, added at `{injection}` |

Pictures have sides that are multiples of {multiple} pixels; it was set up for {frames} frames at a time.

    from model.folder import load_model
    model = load_model("this folder")

## Making

{notes}

## Licence

Weights that started from Stable Video Diffusion or Stable Diffusion 2.1 stay under the licences of those models
(Stability AI Community License; CreativeML Open RAIL++-M). Face vectors of InsightFace's published models are for
non-commercial research only.

Do not animate a person without that person's consent, and tell viewers that the video is made by a model.
"""


def model_card(config: VividPoseConfig, notes: dict[str, str]) -> str:
    said = "\n".join(f"* {key}: {value}" for key, value in notes.items())
    return _CARD.format(
        name=config.name,
        face=config.identity.embedding,
        tokens=config.identity.tokens,
        injection=config.pose.injection,
        multiple=config.size_multiple,
        frames=config.unet.num_frames,
        notes=said or "Nothing was noted.",
    )
