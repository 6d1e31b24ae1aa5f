"""The stage that draws the fitted body: the rendering maps of a sample."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.annotate.body import BODY_FILE
from pipelines.annotate.checksums import weight_digests
from pipelines.annotate.choice import Choice
from pipelines.annotate.clip_stage import ClipInput
from pipelines.engine.ledger import Outcome
from pipelines.shard_format import decode_body
from pipelines.video.encode import MapsWriter

if TYPE_CHECKING:
    from pipelines.body.model import Body

RENDER_FILE = "render.mp4"
# Raise together with the rasteriser's, the lighting's or the encoder's output.
VERSION = "2"


class RenderStage:
    """Rendering maps: shaded, and part labels without loss."""

    name = "render"
    needs: tuple[str, ...] = ("body",)

    def __init__(self, choice: Choice) -> None:
        self.version = VERSION
        self.body_file = choice.files[0]
        self._body: Body | None = None

    def identity(self) -> dict[str, Any]:
        return {"estimator": "numba", "weights": weight_digests([self.body_file])}

    def run(self, clip: ClipInput, folder: Path) -> Outcome:
        from pipelines.body.model import load_body
        from pipelines.body.render import render_sequence

        self._body = self._body or load_body(self.body_file)
        sequence = decode_body((clip.folders["body"] / BODY_FILE).read_bytes())
        covered: list[float] = []
        with MapsWriter(folder / RENDER_FILE, clip.size, clip.fps) as writer:
            for shaded, labels in render_sequence(self._body, sequence, clip.size):
                covered.append(float((labels > 0).mean()))
                writer.write_pair(shaded, labels)
        return Outcome(scores={"rendered_area": float(np.mean(covered))}, frames=clip.length)
