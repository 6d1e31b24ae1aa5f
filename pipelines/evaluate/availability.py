"""What can be measured here: the files that are found, and for every other measure the reason why it is absent."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.annotate.checksums import weight_digests
from pipelines.annotate.choice import FULL, LITE, Choice
from pipelines.evaluate.metrics.lpips import heads_file
from pipelines.evaluate.nets.torchscript import WHY_NOT
from pipelines.evaluate.protocols import I3D_SCRIPT, Measure
from pipelines.evaluate.resize import NONE
from pipelines.weights import CATALOGUE, by_name, find

FULL_PACKAGES = "pip install 'vividpose[evaluate]'"


@dataclass(frozen=True)
class Available:
    """What a run works with. Small and picklable: it travels to the workers.

    files: the metric networks' weights by published name. heads: of LPIPS. people, keypoints, face: the estimators, as
    (name, files); face None where there is none. absent: measure key -> why it cannot be had here.
    """

    files: dict[str, Path]
    heads: Path | None
    people: tuple[str, tuple[Path, ...]]
    keypoints: tuple[str, tuple[Path, ...]]
    face: tuple[Path, ...] | None
    absent: dict[str, str] = field(default_factory=dict)

    def weights_of(self, measure: Measure) -> dict[str, str]:
        """File name -> sha256 of every weight file behind a measure."""
        paths = [self.files[name] for name in measure.files if name in self.files]
        if measure.metric == "lpips" and self.heads is not None:
            paths.append(self.heads)
        elif measure.metric == "face_cosine":
            paths += [*self.people[1], *self.keypoints[1], *(self.face or ())]
        elif measure.metric.startswith("pose_"):
            paths += [*self.people[1], *self.keypoints[1]]
        return weight_digests(paths)


def look(measures: Sequence[Measure], *, allow_torchscript: bool = False) -> Available:
    """What there is for these measures. Reads no network; a damaged file is found when it is loaded."""
    files, absent = {}, {}
    for name in dict.fromkeys(name for measure in measures for name in measure.files):
        path = find(by_name(name))
        if path is not None:
            files[name] = path
    heads = heads_file()
    people, keypoints = _estimator("people"), _estimator("keypoints")
    face = FULL["face"]()
    for measure in measures:
        missing = [name for name in measure.files if name not in files]
        if missing:
            absent[measure.key] = f"{', '.join(missing)} was not found: vividpose weights how-to {missing[0]}"
        elif I3D_SCRIPT in measure.files and not allow_torchscript:
            absent[measure.key] = f"{I3D_SCRIPT} {WHY_NOT}"
        elif measure.metric == "lpips" and heads is None:
            absent[measure.key] = f"the heads of LPIPS come with torchmetrics: {FULL_PACKAGES}"
        elif measure.metric == "ssim" and importlib.util.find_spec("skimage") is None:
            absent[measure.key] = f"scikit-image is not installed: {FULL_PACKAGES}"
        elif measure.metric == "face_cosine" and not isinstance(face, Choice):
            absent[measure.key] = face.why
    return Available(files, heads, people, keypoints, face.files if isinstance(face, Choice) else None, absent)


def _estimator(role: str) -> tuple[str, tuple[Path, ...]]:
    """The full profile's estimator where its files are there, else the shipped one, which is always there."""
    wished = FULL[role]()
    if isinstance(wished, Choice):
        return wished.estimator, wished.files
    shipped = (weight.shipped for weight in CATALOGUE if weight.role == role and weight.profile == "lite")
    return LITE[role][0], tuple(path for path in shipped if path is not None)


def resize_told(measure: Measure, asked: str | None) -> str:
    """The resize kernels behind a number: the one the user asked for on both sides, and the network's own."""
    return "; then ".join(each for each in (asked, measure.resize if measure.resize != NONE else None) if each) or NONE
