"""The stage that fits SMPL-X to the key points of the whole clip, from nothing or from SMPLer-X's estimate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.annotate.checksums import weight_digests
from pipelines.annotate.choice import Choice
from pipelines.annotate.clip_stage import ClipInput
from pipelines.annotate.estimate import ESTIMATE_FILE
from pipelines.annotate.keypoints import KEYPOINTS_FILE, read_keypoints
from pipelines.body.fit_config import VERSION, FitConfig, FitError
from pipelines.engine.ledger import Outcome
from pipelines.settings import plain
from pipelines.shard_format import decode_body, encode_body

if TYPE_CHECKING:
    from pipelines.body.model import Body

BODY_FILE = "smplx.npz"


class BodyStage:
    """SMPL-X parameters that re-project onto the key points."""

    name = "body"
    version = VERSION

    def __init__(self, choice: Choice, config: FitConfig) -> None:
        self.choice = choice
        self.config = config
        self.needs: tuple[str, ...] = ("keypoints", "estimate") if choice.estimator == "smplerx" else ("keypoints",)
        self._body: Body | None = None

    def identity(self) -> dict[str, Any]:
        return {
            "estimator": self.choice.estimator,
            "config": plain(self.config),
            "weights": weight_digests(self.choice.files[:1]),
        }

    def run(self, clip: ClipInput, folder: Path) -> Outcome:
        # torch takes seconds and hundreds of megabytes: only the processes that fit pay for it.
        from pipelines.body.fit import fit_sequence
        from pipelines.body.model import load_body

        self._body = self._body or load_body(self.choice.files[0])
        keypoints = read_keypoints(clip.folders["keypoints"] / KEYPOINTS_FILE)
        initial = None
        if "estimate" in self.needs:
            initial = decode_body((clip.folders["estimate"] / ESTIMATE_FILE).read_bytes())
        try:
            result = fit_sequence(self._body, keypoints, clip.size, self.config, initial)
        except FitError as error:
            return Outcome("dropped", error.reason, str(error), frames=clip.length)
        (folder / BODY_FILE).write_bytes(encode_body(result.sequence))
        return Outcome(scores=result.scores, info={"body_hash": self._body.hash}, frames=clip.length)
