"""Which estimator each stage gets, and why: the profile's wish against the files that are there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipelines.weights import CATALOGUE, Weight, by_name, find

PROFILES = ("auto", "lite", "full")
ROLES = ("people", "keypoints", "face", "body")
LITE_NAMES = {
    "people": "BlazePose detector",
    "keypoints": "BlazePose, hand and face nets",
    "face": "none (samples carry no identity vector and say so)",
    "body": "fit to the key points",
}


class MissingWeights(RuntimeError):
    """The profile needs files or stages that are not there."""


@dataclass(frozen=True)
class Choice:
    """What one role gets. `estimator` is its name, `files` its weights, `why` a sentence."""

    role: str
    estimator: str
    files: tuple[Path, ...]
    why: str


def missing_for_full() -> list[str]:
    """One line for every file of the `full` profile that is not found or not yet usable."""
    lines = []
    for weight in CATALOGUE:
        if weight.profile != "full":
            continue
        path = find(weight)
        if not weight.supported:
            lines.append(f"{weight.name} ({weight.role}): this version has no stage for it yet")
        elif path is None:
            lines.append(f"{weight.name} ({weight.role}): not found; licence: {weight.licence}")
    return lines


def choose(profile: str) -> list[Choice]:
    """The estimator of every role, in order. Raises `MissingWeights` when `full` cannot be had."""
    if profile not in PROFILES:
        raise ValueError(f"there is no profile {profile!r}; there are {', '.join(PROFILES)}")
    if profile == "full":
        lines = missing_for_full()
        if lines:
            raise MissingWeights(
                "the profile `full` cannot run:\n  " + "\n  ".join(lines) + "\nUse PROFILE=lite or PROFILE=auto."
            )
    choices = []
    for role in ROLES:
        shipped = [w for w in CATALOGUE if w.role == role and w.profile == "lite"]
        why = "profile lite" if profile == "lite" else "the full profile's estimator is not part of this version"
        choices.append(Choice(role, LITE_NAMES[role], _files(shipped), why))
    licensed = find(by_name("SMPLX_NEUTRAL.npz")) if profile != "lite" else None
    if licensed is not None:
        terms = by_name("SMPLX_NEUTRAL.npz").licence
        choices[-1] = Choice("body", "fit to the key points", (licensed,), f"your SMPL-X file was found ({terms})")
    return choices


def _files(weights: list[Weight]) -> tuple[Path, ...]:
    paths = []
    for weight in weights:
        path = find(weight)
        if path is None:
            raise MissingWeights(f"{weight.shipped} is missing from the installation: install the package again")
        paths.append(path)
    return tuple(paths)
