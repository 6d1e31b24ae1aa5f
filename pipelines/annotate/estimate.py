"""The stage that estimates SMPL-X from pixels with SMPLer-X. Only where its checkpoint and the licensed body are."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.annotate.checksums import weight_digests
from pipelines.annotate.choice import Choice
from pipelines.annotate.clip_stage import ClipInput
from pipelines.annotate.people import read_boxes
from pipelines.body.camera import assumed_camera
from pipelines.engine.ledger import Outcome
from pipelines.shard_format import encode_body
from pipelines.stages.dwpose.providers import Device, ProviderError, gpu_visible

if TYPE_CHECKING:
    from pipelines.stages.smplerx.estimator import SmplerX

ESTIMATE_FILE = "smplx.npz"


class EstimateStage:
    """SMPLer-X over the clip. half: bfloat16 on the encoder; compiled: `torch.compile`."""

    name = "estimate"
    needs: tuple[str, ...] = ("people",)

    def __init__(self, choice: Choice, device: Device, batch: int, half: bool, compiled: bool) -> None:
        from pipelines.stages.smplerx.estimator import VERSION

        self.version = VERSION
        self.choice = choice
        self.device = device
        self.batch = batch
        self.half = half
        self.compiled = compiled
        self._smplerx: SmplerX | None = None

    def identity(self) -> dict[str, Any]:
        return {
            "estimator": self.choice.estimator,
            "half": self.half,
            "weights": weight_digests(self.choice.files),
        }

    def run(self, clip: ClipInput, folder: Path) -> Outcome:
        from pipelines.stages.smplerx.estimator import NobodyThere

        self._smplerx = self._smplerx or self._load()
        try:
            # An ordinary camera's focal: the fit that follows cannot mend the depth of SMPLer-X's own, very long one.
            focal = assumed_camera(clip.size).focal
            sequence = self._smplerx(clip.frames.chunks(), read_boxes(clip), clip.size, focal)
        except NobodyThere as error:
            return Outcome("dropped", error.reason, str(error), frames=clip.length)
        (folder / ESTIMATE_FILE).write_bytes(encode_body(sequence))
        return Outcome(info={"name": self._smplerx.estimator}, frames=clip.length)

    def _load(self) -> SmplerX:
        import torch

        from pipelines.body.model import load_body
        from pipelines.stages.smplerx.estimator import SmplerX

        body_file, checkpoint = self.choice.files
        cuda = self.device != "cpu" and torch.cuda.is_available()
        told = "this torch cannot use a GPU: install its CUDA build, or set estimators.device=cpu"
        if not cuda and self.device in ("cuda", "tensorrt"):
            raise ProviderError(f"SMPLer-X was to run on the GPU (estimators.device={self.device}), but {told}")
        if not cuda and self.device == "auto" and gpu_visible():
            warnings.warn(f"SMPLer-X runs on the CPU though there is a GPU: {told}", RuntimeWarning, stacklevel=2)
        return SmplerX(
            checkpoint,
            load_body(body_file),
            device="cuda" if cuda else "cpu",
            dtype=torch.bfloat16 if self.half else torch.float32,
            batch=self.batch,
            compiled=self.compiled,
        )
