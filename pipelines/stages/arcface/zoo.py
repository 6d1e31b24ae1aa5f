"""insightface's detector and recogniser on local files, and where they lie in its packs. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort

from pipelines.clip import Floats, Frames
from pipelines.stages.dwpose.providers import Device, check, gpu_visible, wanted
from pipelines.stages.dwpose.session import LOAD_ERRORS
from pipelines.weights_error import WeightsError

from .alignment import SIDE
from .faces import Faces

try:
    from insightface.model_zoo import model_zoo
    from insightface.model_zoo.arcface_onnx import ArcFaceONNX
    from insightface.model_zoo.scrfd import SCRFD
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"the ArcFace stage needs the optional packages of the full profile ({error.name} is missing): "
        "pip install -c constraints.txt 'vividpose[full]'",
        name=error.name,
    ) from error

LICENCE = "InsightFace model packs (antelopev2, buffalo_*): non-commercial research purposes only"
# Sizes (width, height) that a picture is searched at, as insightface does since 1.0: large faces, then the others.
DETECTION_SIZES = ((128, 128), (640, 640))
DETECTED, SAME_FACE = 0.5, 0.4
# Three strides of scores, boxes and points.
SCRFD_OUTPUTS = 9
DETECTORS = ("scrfd_10g_bnkps.onnx", "det_10g.onnx", "det_2.5g.onnx", "det_500m.onnx")
RECOGNISERS = ("glintr100.onnx", "w600k_r50.onnx", "w600k_mbf.onnx")


@dataclass(frozen=True)
class Pack:
    """The two files that this stage needs of a pack of InsightFace's."""

    detector: Path
    recogniser: Path


def find_pack(folder: Path) -> Pack:
    """The detector and the recogniser in a folder, also when they are nested (antelopev2.zip unpacks into itself
    twice).

    Packs name their files differently; known names are taken first, then any file of the right form. Where there are
    several, those that lie together are taken, and the better pack first. Raises WeightsError naming what is missing.
    """
    files = sorted(Path(folder).rglob("*.onnx"))
    if not files:
        raise WeightsError(
            Path(folder), "no *.onnx in this folder or below; expected InsightFace's antelopev2 or buffalo"
        )
    detectors = [*_named(files, DETECTORS)] or [path for path in files if _form(path) == "detector"]
    recognisers = [*_named(files, RECOGNISERS)] or [path for path in files if _form(path) == "recogniser"]
    for name, found, known in (("detector", detectors, DETECTORS), ("recogniser", recognisers, RECOGNISERS)):
        if not found:
            raise WeightsError(
                Path(folder), f"no face {name} here (such as {known[0]}); there are {', '.join(p.name for p in files)}"
            )
    for recogniser in recognisers:
        for detector in detectors:
            if detector.parent == recogniser.parent:
                return Pack(detector, recogniser)
    return Pack(detectors[0], recognisers[0])


def _named(files: Sequence[Path], names: Sequence[str]) -> Iterator[Path]:
    for name in names:
        yield from (path for path in files if path.name == name)


def _form(path: Path) -> str | None:
    try:
        session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except LOAD_ERRORS:
        return None
    outputs, shape = session.get_outputs(), session.get_inputs()[0].shape
    if len(outputs) == SCRFD_OUTPUTS:
        return "detector"
    return "recogniser" if len(outputs) == 1 and list(shape[2:]) == [SIDE, SIDE] else None


def _load(path: Path, device: Device, kind: type[Any], what: str) -> Any:
    path = Path(path)
    if not path.is_file():
        raise WeightsError(path, "no such file; `vividpose weights` tells where to get it")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    providers = wanted(device, ort.get_available_providers())
    try:
        model: Any = model_zoo.ModelRouter(str(path)).get_model(providers=providers, sess_options=options)
    except LOAD_ERRORS as error:
        raise WeightsError(
            path,
            f"not an ONNX file that ONNX Runtime {ort.__version__} can load ({path.stat().st_size} bytes; "
            f"{str(error).splitlines()[0][:300]}). If a download was cut short, delete the file and fetch it again",
        ) from error
    if model is None or not isinstance(model, kind):
        told = "nothing that it knows" if model is None else f"a net for {model.taskname}"
        raise WeightsError(path, f"expected {what}; by its inputs and outputs insightface takes this for {told}")
    check(device, model.session.get_providers(), gpu_visible())
    return model


class Scrfd:
    """SCRFD with five points. sizes: (width, height) to search at; a graph of fixed size has only its own.

    Raises WeightsError for a file that is missing, damaged or no such detector, ProviderError for the device.
    """

    def __init__(
        self, path: Path, device: Device = "auto", sizes: Sequence[tuple[int, int]] = DETECTION_SIZES
    ) -> None:
        self.net: SCRFD = _load(path, device, SCRFD, "a face detector (SCRFD)")
        if not self.net.use_kps:
            raise WeightsError(path, "this SCRFD gives no key points, which alignment needs; take one with `kps`")
        self.net.prepare(0, input_size=list(sizes), det_thresh=DETECTED, nms_thresh=SAME_FACE)

    def detect(self, frame: Frames) -> Faces:
        found, points = self.net.detect(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        return Faces(found[:, :4].astype(np.float32), found[:, 4].astype(np.float32), points.astype(np.float32))


class ArcFaceNet:
    """An ArcFace recogniser of any width. Raises as `Scrfd` does.

    Graphs of a fixed batch take their faces in portions of that size.
    """

    def __init__(self, path: Path, device: Device = "auto") -> None:
        self.net: ArcFaceONNX = _load(path, device, ArcFaceONNX, "a face recogniser (ArcFace)")
        if tuple(self.net.input_size) != (SIDE, SIDE):
            raise WeightsError(path, f"expected pictures of {SIDE}x{SIDE}, this net takes {self.net.input_size}")
        batch, width = self.net.input_shape[0], self.net.output_shape[-1]
        self.fixed_batch = batch if isinstance(batch, int) and batch > 0 else None
        self.width = width if isinstance(width, int) else self._embed([np.zeros((SIDE, SIDE, 3), np.uint8)]).shape[1]

    def embed(self, crops: Sequence[Frames]) -> Floats:
        step = self.fixed_batch or len(crops)
        parts = []
        for start in range(0, len(crops), step):
            part = list(crops[start : start + step])
            # A graph of a fixed batch takes no fewer.
            full = part + [np.zeros_like(part[0])] * ((self.fixed_batch or len(part)) - len(part))
            parts.append(self._embed(full)[: len(part)])
        return np.concatenate(parts)

    def _embed(self, crops: Sequence[Frames]) -> Floats:
        return np.asarray(self.net.get_feat([cv2.cvtColor(crop, cv2.COLOR_RGB2BGR) for crop in crops]), np.float32)
