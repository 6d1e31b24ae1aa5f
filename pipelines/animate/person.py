"""Whom to take of the people in a picture or clip: the largest, or the n-th from the left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.animate.settings import PersonConfig
from pipelines.annotate.checksums import weight_digests
from pipelines.annotate.choice import Choice
from pipelines.annotate.clip_stage import ClipInput
from pipelines.annotate.people import PEOPLE_FILE
from pipelines.clip import People
from pipelines.engine.ledger import Outcome
from pipelines.settings import plain
from pipelines.shard_format import pack_arrays
from pipelines.stages import people as people_filter
from pipelines.stages.dwpose.people_yolox import YoloxLook
from pipelines.stages.dwpose.providers import Device
from pipelines.stages.dwpose.yolox import Yolox
from pipelines.stages.people import Look, PeopleConfig, PeopleFilter
from pipelines.stages.people_tracks import Sighting, Track, boxes_of, follow

VERSION = "1"


class PersonFinder(PeopleFilter):
    """Looks for people and follows them as the data engine does; others in the picture are no reason to refuse it."""

    def __init__(self, config: PeopleConfig, person: int | None, look: Look | None = None) -> None:
        super().__init__(config, look)
        self.person = person

    def _decide(self, looks: Any, count: int, size: tuple[int, int], gap: int, cut: float) -> People:
        tracks = follow(looks.frames, looks.sightings, gap)
        most = max((len(sightings) for sightings in looks.sightings), default=0)
        scores = {"frames": float(count), "looks": float(len(looks.frames)), "cut": cut, "people": float(most)}
        nobody = np.full((count, 4), np.nan, np.float32)
        if not tracks:
            return People(nobody, "nobody", scores)
        crowded = next(sightings for sightings in looks.sightings if len(sightings) == most)
        if self.person is None:
            chosen = max(tracks, key=Track.weight)
        elif self.person > most:
            return People(nobody, "no_such_person", scores)
        else:
            wanted = _from_left(crowded)[self.person - 1]
            chosen = next(track for track in tracks if any(seen is wanted for seen in track.sightings))
        sides = np.stack([sighting.box[2:] - sighting.box[:2] for sighting in chosen.sightings])
        scores["present"] = len(chosen.frames) / len(looks.frames)
        scores["height"] = float(np.median(sides[:, 1])) / size[1]
        scores["side"] = float(np.median(sides.max(axis=1)))
        return People(boxes_of(chosen, count), None, scores)


class PersonStage:
    """The boxes of the person whom the job takes."""

    name = "people"
    version = f"{people_filter.VERSION}.{VERSION}"
    needs: tuple[str, ...] = ()

    def __init__(self, choice: Choice, config: PersonConfig, device: Device, person: int | None) -> None:
        self.choice, self.config, self.device, self.person = choice, config, device, person
        self._finder: PersonFinder | None = None

    def identity(self) -> dict[str, Any]:
        return {
            "estimator": self.choice.estimator,
            "config": plain(self.config),
            "person": self.person,
            "weights": weight_digests(self.choice.files),
        }

    def run(self, clip: ClipInput, folder: Path) -> Outcome:
        self._finder = self._finder or self._load()
        found = self._finder(clip.frames.chunks(), float(clip.fps))
        if found.reason is not None:
            people = int(found.scores["people"])
            told = {
                "nobody": "no person was found in it",
                "no_such_person": f"person {self.person} was asked for, at most {people} are seen at a time",
            }
            return Outcome("quarantined", found.reason, told[found.reason], scores=found.scores, frames=clip.length)
        (folder / PEOPLE_FILE).write_bytes(pack_arrays({"boxes": found.boxes}))
        return Outcome(scores=found.scores, frames=clip.length)

    def _load(self) -> PersonFinder:
        config = PeopleConfig(samples_per_second=self.config.samples_per_second, longest_gap=self.config.longest_gap)
        if self.choice.estimator == "yolox":
            return PersonFinder(config, self.person, YoloxLook(Yolox(self.choice.files[0], self.device)))
        return PersonFinder(config, self.person)


def _from_left(sightings: Sequence[Sighting]) -> list[Sighting]:
    return sorted(sightings, key=lambda seen: float(seen.box[0] + seen.box[2]))
