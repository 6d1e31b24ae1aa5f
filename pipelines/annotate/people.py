"""The stage that finds the main person, and drops clips without exactly one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.annotate.checksums import weight_digests
from pipelines.annotate.choice import Choice
from pipelines.annotate.clip_stage import ClipInput
from pipelines.clip import Floats
from pipelines.engine.ledger import Outcome
from pipelines.settings import plain
from pipelines.shard_format import pack_arrays, unpack_arrays
from pipelines.stages.dwpose.people_yolox import YoloxLook
from pipelines.stages.dwpose.providers import Device
from pipelines.stages.dwpose.yolox import Yolox
from pipelines.stages.people import VERSION, PeopleConfig, PeopleFilter

PEOPLE_FILE = "people.npz"
# The scores that a person needs to understand why a clip was dropped.
DECIDING = ("people", "present", "alone", "rival_area", "height", "side", "cut")


class PeopleStage:
    """Main person's boxes, by YOLOX or by BlazePose's detector."""

    name = "people"
    version = VERSION
    needs: tuple[str, ...] = ()

    def __init__(self, choice: Choice, config: PeopleConfig, device: Device) -> None:
        self.choice = choice
        self.config = config
        self.device = device
        self._filter: PeopleFilter | None = None

    def identity(self) -> dict[str, Any]:
        return {
            "estimator": self.choice.estimator,
            "config": plain(self.config),
            "weights": weight_digests(self.choice.files),
        }

    def run(self, clip: ClipInput, folder: Path) -> Outcome:
        self._filter = self._filter or self._load()
        people = self._filter(clip.frames.chunks(), float(clip.fps))
        if people.reason is not None:
            told = ", ".join(f"{name} {people.scores[name]:.3g}" for name in DECIDING if name in people.scores)
            return Outcome("dropped", people.reason, told, scores=people.scores, frames=clip.length)
        (folder / PEOPLE_FILE).write_bytes(pack_arrays({"boxes": people.boxes}))
        return Outcome(scores=people.scores, frames=clip.length)

    def _load(self) -> PeopleFilter:
        if self.choice.estimator == "yolox":
            return PeopleFilter(self.config, look=YoloxLook(Yolox(self.choice.files[0], self.device)))
        return PeopleFilter(self.config)


def read_boxes(clip: ClipInput) -> Floats:
    """The main person's boxes (T, 4) as the people stage found them; NaN where nobody is."""
    path = clip.folders["people"] / PEOPLE_FILE
    return unpack_arrays(path.read_bytes(), str(path))["boxes"]
