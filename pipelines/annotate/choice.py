"""Which estimator each stage gets, and why: the profile's wish against the files that are there."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipelines.weights import CATALOGUE, by_name, find

PROFILES = ("auto", "lite", "full")
# The best first; the corrected file of size h has another camera head than the first release.
SMPLERX = ("smpler_x_h32_correct.pth.tar", *(f"smpler_x_{size}32.pth.tar" for size in "hlbs"))
# Detector and recogniser of InsightFace's packs, the best first.
FACE_PACKS = (
    ("scrfd_10g_bnkps.onnx", "glintr100.onnx"),
    ("det_10g.onnx", "w600k_r50.onnx"),
    ("det_500m.onnx", "w600k_mbf.onnx"),
)
BODY_FILE = "SMPLX_NEUTRAL.npz"


class MissingWeights(RuntimeError):
    """The profile needs files or packages that are not there."""


@dataclass(frozen=True)
class Choice:
    """What one role gets.

    estimator: its key (yolox, blazepose, dwpose, arcface, none, smplerx, fit). files: its weights, in a fixed order.
    told: its name for people. why: a sentence. licences: of the files that are the user's, one line each.
    """

    role: str
    estimator: str
    files: tuple[Path, ...]
    told: str
    why: str
    licences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lacking:
    """Why the full profile's estimator of a role cannot be had."""

    role: str
    why: str


def _found(names: tuple[str, ...]) -> list[Path | None]:
    return [find(by_name(name)) for name in names]


def _licences(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{name}: {by_name(name).licence}" for name in names)


def _one_file(role: str, name: str, estimator: str, told: str) -> Choice | Lacking:
    path = find(by_name(name))
    if path is None:
        return Lacking(role, f"{name} was not found")
    return Choice(role, estimator, (path,), told, f"{name} was found", _licences((name,)))


def _people() -> Choice | Lacking:
    return _one_file("people", "yolox_l.onnx", "yolox", "YOLOX-L")


def _keypoints() -> Choice | Lacking:
    return _one_file("keypoints", "dw-ll_ucoco_384.onnx", "dwpose", "DWPose")


def _face() -> Choice | Lacking:
    for names in FACE_PACKS:
        files = [path for path in _found(names) if path is not None]
        if len(files) == len(names):
            if importlib.util.find_spec("insightface") is None:
                return Lacking("face", f"{' and '.join(names)} were found, but not the package: pip install '.[full]'")
            why = f"{' and '.join(names)} were found"
            return Choice("face", "arcface", tuple(files), "SCRFD + ArcFace", why, _licences(names))
    return Lacking("face", f"none of InsightFace's packs was found (such as {' and '.join(FACE_PACKS[0])})")


def _body() -> Choice | Lacking:
    body = find(by_name(BODY_FILE))
    checkpoint = next((name for name in SMPLERX if find(by_name(name)) is not None), None)
    if body is None or checkpoint is None:
        absent = [name for name, there in ((BODY_FILE, body), (" or ".join(SMPLERX), checkpoint)) if there is None]
        return Lacking("body", f"not found: {', '.join(absent)}")
    path = find(by_name(checkpoint))
    assert path is not None, "it was found two lines above"
    told, why = "SMPLer-X, refined on the key points", f"{checkpoint} was found"
    return Choice("body", "smplerx", (body, path), told, why, _licences((BODY_FILE, checkpoint)))


FULL: dict[str, Callable[[], Choice | Lacking]] = {
    "people": _people,
    "keypoints": _keypoints,
    "face": _face,
    "body": _body,
}
LITE: dict[str, tuple[str, str]] = {
    "people": ("blazepose", "BlazePose detector"),
    "keypoints": ("blazepose", "BlazePose, hand and face nets"),
    "face": ("none", "none (samples carry no identity vector and say so)"),
    "body": ("fit", "fit to the key points, free body"),
}
ROLES = tuple(FULL)


def choose(profile: str) -> list[Choice]:
    """The estimator of every role, in the order of ROLES. Raises `MissingWeights` when `full` cannot be had whole."""
    if profile not in PROFILES:
        raise ValueError(f"there is no profile {profile!r}; there are {', '.join(PROFILES)}")
    if profile == "lite":
        return [_lite(role, "profile lite") for role in ROLES]
    wished = [FULL[role]() for role in ROLES]
    lacking = [wish for wish in wished if isinstance(wish, Lacking)]
    if profile == "full" and lacking:
        lines = "\n".join(f"  {lack.role}: {lack.why}" for lack in lacking)
        raise MissingWeights(
            f"the profile `full` cannot run:\n{lines}\n`vividpose weights` tells where to get the files. "
            "PROFILE=auto takes what is there, PROFILE=lite needs nothing."
        )
    return [_lite(wish.role, wish.why) if isinstance(wish, Lacking) else wish for wish in wished]


def missing_for_full() -> list[str]:
    """One line for every role that the full profile cannot fill."""
    wished = [FULL[role]() for role in ROLES]
    return [f"{wish.role}: {wish.why}" for wish in wished if isinstance(wish, Lacking)]


def _lite(role: str, why: str) -> Choice:
    estimator, told = LITE[role]
    files = []
    for weight in CATALOGUE:
        if weight.role == role and weight.profile == "lite":
            path = find(weight)
            if path is None:
                raise MissingWeights(f"{weight.shipped} is missing from the installation: install the package again")
            files.append(path)
    licensed = find(by_name(BODY_FILE)) if role == "body" and why != "profile lite" else None
    if licensed is not None:
        told, why = "fit to the key points, your SMPL-X body", f"{why}; {BODY_FILE} was found"
        return Choice(role, estimator, (licensed,), told, why, _licences((BODY_FILE,)))
    return Choice(role, estimator, tuple(files), told, why)
