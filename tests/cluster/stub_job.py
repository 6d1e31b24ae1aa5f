"""The main job with stages that cost nothing, for tests of what lies around them: nodes, stores, kills.

    python -m tests.cluster.stub_job SRC --out OUT ...       as `vividpose shards`

The ingest is the real one. The others write small files that depend on the clip's key alone; `STUB_SECONDS` makes each
of them last, `STUB_BYTES` says how large the rendering is, `STUB_ENDS` (JSON: first digits of a key -> "dropped" or
"failed") how the quality stage ends for some. In Ray's workers this module is imported with the worker.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.annotate.body import BODY_FILE
from pipelines.annotate.choice import Choice
from pipelines.annotate.clip_stage import ClipInput
from pipelines.annotate.face import FACE_FILE
from pipelines.annotate.keypoints import KEYPOINTS_FILE, write_keypoints
from pipelines.annotate.render import RENDER_FILE
from pipelines.clip import Keypoints
from pipelines.engine import elastic
from pipelines.engine.host import this_host
from pipelines.engine.ledger import Outcome
from pipelines.job import run, workers
from pipelines.job.settings import ShardsSettings
from pipelines.shard_format import Face, encode_face

FILES = {"face": FACE_FILE, "body": BODY_FILE, "render": RENDER_FILE}
NEEDS = {"keypoints": ("people",), "face": ("keypoints",), "body": ("keypoints",), "render": ("body",)}
ORDER = ("people", "keypoints", "face", "body", "render", "quality")


@dataclass(frozen=True)
class StubStage:
    """Writes the file that a sample needs of the stage it stands for."""

    name: str
    version: str = "1"

    @property
    def needs(self) -> tuple[str, ...]:
        return NEEDS.get(self.name, ())

    def identity(self) -> dict[str, Any]:
        return {"estimator": "stub"}

    def run(self, clip: ClipInput, folder: Path) -> Outcome:
        time.sleep(float(os.environ.get("STUB_SECONDS", "0")))
        seed = int(hashlib.sha256(f"{self.name} {clip.key}".encode()).hexdigest()[:8], 16)
        if self.name == "keypoints":
            points = np.random.default_rng(seed).random((clip.length, 133, 2)).astype(np.float32)
            found = Keypoints(points, points[..., 0], points[:, :2].reshape(clip.length, 4), "stub")
            write_keypoints(folder / KEYPOINTS_FILE, found)
            content = b""
        elif self.name == "face":
            content = encode_face(Face.absent(clip.length))
        else:
            size = int(os.environ.get("STUB_BYTES", "3000")) if self.name == "render" else 3000
            content = random.Random(seed).randbytes(size)
        if content and self.name in FILES:
            (folder / FILES[self.name]).write_bytes(content)
        log_folder = os.environ.get("STUB_LOG")
        if log_folder:
            node = os.environ.get("STUB_NODE") or ray_node() or this_host()
            with open(Path(log_folder) / node, "a") as log:
                log.write(f"{self.name} {clip.key}\n")
        end = self.name == "quality" and json.loads(os.environ.get("STUB_ENDS", "{}")).get(clip.key[:16])
        if end == "failed":
            raise RuntimeError("the stub was asked to fail")
        if end:
            return Outcome(end, "stub", "as it was asked to", frames=clip.length)
        return Outcome(scores={"stub": seed / 2**32}, frames=clip.length)


def ray_node() -> str:
    """The id of the Ray node that this process works on, "" outside Ray."""
    ray = sys.modules.get("ray")
    return ray.get_runtime_context().get_node_id() if ray is not None and ray.is_initialized() else ""


def stub_stages(settings: ShardsSettings, choices: Sequence[Choice]) -> dict[str, Any]:
    return {name: StubStage(name) for name in ORDER}


class StubAnnotateWorker(workers.AnnotateWorker):
    """Of this module, so that a Ray worker which unpickles it imports this module, and with it the stubs."""


# A cluster that changes within seconds.
elastic.LOSS_SECONDS, elastic.GAIN_SECONDS, elastic.GAIN_EVERY_SECONDS = 3.0, 3.0, 3.0
workers.annotate_stages = run.annotate_stages = stub_stages  # type: ignore[assignment]
run.AnnotateWorker = StubAnnotateWorker  # type: ignore[misc]


if __name__ == "__main__":
    # As the module that Ray's workers import, not as __main__.
    from tests.cluster import stub_job

    assert stub_job.StubAnnotateWorker
    from pipelines.cli import main

    sys.exit(main(["shards", *sys.argv[1:], "--profile", "lite"]))
