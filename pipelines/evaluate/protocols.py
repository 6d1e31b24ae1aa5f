"""The two protocols, and what each measure is under them.

`disco`: what DisCo's tool computes, faults included, to stand beside published tables. `corrected`: the same metrics
without the faults, and the ones that the tables lack. A measure is a metric under a protocol; its definition, clip
rule, resize kernel and network travel with every number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipelines.evaluate.resize import NONE, PIL_BICUBIC, TORCH_BILINEAR
from pipelines.evaluate.windows import ALL, DISCO

VERSION = "1"
"""Raised when any measure of unchanged videos gives another number."""

PROTOCOLS = ("disco", "corrected")
INCEPTION = "pt_inception-2015-12-05-6726825d.pth"
I3D = "i3d_pretrained_400.pt"
I3D_SCRIPT = "i3d_torchscript.pt"
RESNET3D = "resnet-50-kinetics.pth"
VGG16 = "vgg16-397923af.pth"


@dataclass(frozen=True)
class FeatureSet:
    """Features of one network. file: its weights. resize: the kernel, to `side` pixels square. per: of what."""

    name: str
    file: str
    resize: str
    side: int
    per: Literal["frame", "clip"]


@dataclass(frozen=True)
class Measure:
    """One metric under one protocol.

    kind: "frame" and "estimator" are means of a value per frame, "frechet" and "kid" statistics of features.
    features: the FeatureSet of the latter two. files: the weight files that it cannot be had without.
    """

    protocol: str
    metric: str
    title: str
    kind: Literal["frame", "estimator", "frechet", "kid"]
    better: Literal["lower", "higher", "neither"]
    definition: str
    features: str = ""
    clips: str = NONE
    resize: str = NONE
    files: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.metric}.{self.protocol}"


FEATURES = {
    each.name: each
    for each in (
        FeatureSet("inception_bilinear", INCEPTION, TORCH_BILINEAR, 299, "frame"),
        FeatureSet("inception_bicubic", INCEPTION, PIL_BICUBIC, 299, "frame"),
        FeatureSet("resnet3d", RESNET3D, PIL_BICUBIC, 112, "clip"),
        FeatureSet("i3d_disco", I3D, PIL_BICUBIC, 224, "clip"),
        FeatureSet("i3d_videogpt", I3D, PIL_BICUBIC, 224, "clip"),
        FeatureSet("i3d_stylegan_v", I3D_SCRIPT, NONE, 0, "clip"),
    )
}


def _statistic(
    protocol: str, metric: str, title: str, features: str, definition: str, clips: str = NONE,
    kind: Literal["frechet", "kid"] = "frechet",
) -> Measure:  # fmt: skip
    held = FEATURES[features]
    size = f" to {held.side} x {held.side}" if held.side else " (inside the network)"
    resize = held.resize + size
    return Measure(protocol, metric, title, kind, "lower", definition, features, clips, resize, (held.file,))


POOLED = "Frechet distance over the frames of all videos"
MEASURES: tuple[Measure, ...] = (
    Measure("disco", "l1", "L1", "frame", "lower",
            "mean absolute difference in levels 0..255, divided by the number of pixels once more"),
    Measure("disco", "psnr", "PSNR", "frame", "higher",
            "dB, the difference and its square wrapped to eight bits; 100 for equal frames"),
    Measure("disco", "ssim", "SSIM", "frame", "higher", "grey, uniform window of 7, sample covariance"),
    Measure("disco", "lpips", "LPIPS", "frame", "lower", "VGG, pictures handed over in 0..1 instead of -1..1",
            files=(VGG16,)),
    _statistic("disco", "fid", "FID", "inception_bilinear", POOLED),
    _statistic("disco", "fid_vid", "FID-VID", "resnet3d",
               "Frechet distance of 2048 features of 3-D ResNet-50; frames not put through GIF or mp4", DISCO),
    _statistic("disco", "fvd", "FVD", "i3d_disco",
               "Frechet distance of 400 logits of I3D, batch norm epsilon 1e-3; frames not put through GIF or mp4",
               DISCO),
    Measure("corrected", "l1", "L1", "frame", "lower", "mean absolute difference, 0..1"),
    Measure("corrected", "psnr", "PSNR", "frame", "higher", "dB, mean over frames; 100 for equal frames"),
    Measure("corrected", "ssim", "SSIM", "frame", "higher", "RGB, Gaussian window of 11, sigma 1.5 (Wang et al. 2004)"),
    Measure("corrected", "lpips", "LPIPS", "frame", "lower", "VGG, pictures in -1..1", files=(VGG16,)),
    _statistic("corrected", "fid", "FID", "inception_bicubic", POOLED),
    _statistic("corrected", "kid", "KID", "inception_bicubic",
               "unbiased squared MMD, kernel (x.y/d + 1)^3, over all frames, no subsets", kind="kid"),
    _statistic("corrected", "fid_vid", "FID-VID", "resnet3d",
               "Frechet distance of 2048 features of 3-D ResNet-50", ALL),
    _statistic("corrected", "fvd", "FVD", "i3d_videogpt",
               "Frechet distance of 400 logits of I3D, batch norm epsilon 1e-5", ALL),
    _statistic("corrected", "fvd_stylegan_v", "FVD (stylegan-v)", "i3d_stylegan_v",
               "Frechet distance of 400 logits of stylegan-v's I3D", ALL),
    Measure("corrected", "face_cosine", "Face cosine", "estimator", "higher",
            "ArcFace, result against truth, frame by frame; 0 where the face is lost; frames with a face in the truth"),
    Measure("corrected", "pose_error", "Pose error", "estimator", "lower",
            "mean distance of 17 body points seen in both, in diagonals of the driving pose"),
    Measure("corrected", "pose_missed", "Pose points missed", "estimator", "lower",
            "share of the driving pose's body points that are not seen in the result"),
    Measure("corrected", "flicker", "Flicker", "frame", "lower",
            "mean absolute difference of the change from frame to frame, result against truth, 0..1"),
    Measure("corrected", "warp_error", "Warping error", "frame", "lower",
            "mean absolute difference to the next frame warped back along the truth's DIS flow, 0..1"),
    Measure("corrected", "warp_error_truth", "Warping error of the truth", "frame", "neither",
            "the same of the truth itself: what no result needs to be below"),
)  # fmt: skip


class UnknownMeasure(ValueError):
    """A protocol or a metric that there is not."""


def chosen(protocols: Sequence[str], metrics: Sequence[str] = ()) -> tuple[Measure, ...]:
    """The measures of these protocols, in the order of the catalogue; all metrics if none is named.

    Raises UnknownMeasure.
    """
    if not protocols:
        raise UnknownMeasure(f"name a protocol: {', '.join(PROTOCOLS)}")
    known = list(dict.fromkeys(measure.metric for measure in MEASURES))
    for name, names, what in ((protocols, PROTOCOLS, "protocol"), (metrics, known, "metric")):
        for each in name:
            if each not in names:
                raise UnknownMeasure(f"there is no {what} {each!r}; there are {', '.join(names)}")
    wanted = tuple(m for m in MEASURES if m.protocol in protocols and (not metrics or m.metric in metrics))
    if not wanted:
        raise UnknownMeasure(f"no metric of {', '.join(metrics)} exists under {', '.join(protocols)}")
    return wanted
