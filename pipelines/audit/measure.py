"""Measuring one sample of a shard, group of checks by group. Runs in a child process: the sample is untrusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from pipelines.audit.stored import Place, read_sample
from pipelines.clip import Floats
from pipelines.engine.executors import Row
from pipelines.shard_format import BadSample, Sample

if TYPE_CHECKING:
    from pipelines.audit.sensitive import Classifier
    from pipelines.body.model import Body
    from pipelines.stages.people_blazepose import BlazePoseLook

# Looks a clip where the engine left no number of people, and frames that a classifier is shown.
LOOKS, SHOWN = 4, 4
# The nets look at crops of about 250 pixels: people in smaller pictures are found only when these are enlarged.
LEAST_SIDE = 320
PEOPLE_SCORES = ("people", "rival_area", "alone")
# Pixels: of crowds 128, 90, 64 and 51 pixels high 100, 95, 75 and 30 % are found, so smaller people are not counted.
LEAST_PERSON = 80
# Changes when people are counted otherwise.
COUNTING = f"2.{LOOKS}.{LEAST_PERSON}"


@dataclass(frozen=True)
class Measuring:
    """What measuring depends on besides the sample. bodies: path of each body file here, by its sha256.

    classifier: `package.module:name`, or None.
    """

    bodies: tuple[tuple[str, str], ...]
    classifier: str | None = None


def measure_sample(path: Path, key: str, members: Mapping[str, Place], group: str, measuring: Measuring) -> Row:
    """The columns of one group for one sample, plus `fingerprints` for the group "picture".

    Where the sample is broken the only column is `corrupt`, the reason.
    """
    try:
        sample = read_sample(path, key, dict(members), videos=group != "people")
        if group == "people":
            from pipelines.audit.people import measure_people

            return measure_people(sample, _body(dict(measuring.bodies).get(sample.body.body_hash)))
        if group == "picture":
            return _picture(sample)
        assert measuring.classifier is not None, "the group is planned only where there is a classifier"
        return _sensitive(sample, measuring.classifier)
    except BadSample as error:
        return {"corrupt": " ".join(str(error).split())[:500]}


def _picture(sample: Sample) -> Row:
    from pipelines.audit.picture import measure_picture

    row, fingerprints = measure_picture(sample)
    quality = sample.meta.get("quality")
    engine = quality if isinstance(quality, dict) else {}
    if all(isinstance(engine.get(name), (int, float)) for name in PEOPLE_SCORES):
        row |= {name: float(engine[name]) for name in PEOPLE_SCORES}
    else:
        row |= count_people(sample)
    return {**row, "fingerprints": fingerprints}


def count_people(sample: Sample) -> dict[str, float | None]:
    """Mean number of people, the largest other in areas of the main one (median), share of looks without a rival.

    For clips that no people filter has seen: `LOOKS` frames are searched with the nets that are shipped.
    None where the main person is too small in pixels (`LEAST_PERSON`) for others of that size to be found.
    """
    from pipelines.stages.people import PeopleConfig

    if person_side(sample.keypoints.boxes) < LEAST_PERSON:
        return dict.fromkeys(PEOPLE_SCORES)
    config = PeopleConfig()
    found, rivals = [], []
    frames = _spread(sample, LOOKS)
    scale = max(1.0, LEAST_SIDE / min(frames.shape[1:3]))
    enlarged = [np.asarray(cv2.resize(f, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)) for f in frames]
    boxes = sample.keypoints.boxes[_times(sample, LOOKS)] * scale
    for sightings, box in zip(_look()(enlarged), boxes):
        areas = sorted((s.area() for s in sightings), reverse=True)
        main = float(np.prod(box[2:] - box[:2])) if np.isfinite(box).all() else max(areas, default=1.0)
        # One of the people is the main one: the one whose area is nearest to the stored box's.
        if areas:
            areas.remove(min(areas, key=lambda area: abs(area - main)))
        found.append(len(sightings))
        rivals.append(max(areas, default=0.0) / max(main, 1.0))
    return {
        "people": float(np.mean(found)),
        "rival_area": float(np.median(rivals)),
        "alone": float(np.mean(np.array(rivals) <= config.rival_area)),
    }


def person_side(boxes: Floats) -> float:
    """Median longer side of the main person's boxes (T, 4), pixels; inf where nobody knows."""
    known = boxes[np.isfinite(boxes).all(1)]
    return float(np.median((known[:, 2:] - known[:, :2]).max(1))) if len(known) else float("inf")


def _sensitive(sample: Sample, spec: str) -> Row:
    from pipelines.audit.sensitive import checked_scores

    return dict(checked_scores(_classifier(spec)(_spread(sample, SHOWN)), spec))


def _times(sample: Sample, number: int) -> list[int]:
    frames = int(sample.meta["frames"])
    return [int((i + 0.5) * frames / number) for i in range(number)]


def _spread(sample: Sample, number: int) -> Any:
    from pipelines.video.reader import ClipReader

    try:
        with ClipReader(sample.video) as reader:
            return reader.frames(_times(sample, number))
    except (ValueError, IndexError, OSError) as error:
        raise BadSample(f"video.mp4 cannot be decoded: {error}") from error


@cache
def _body(path: str | None) -> Body | None:
    if path is None:
        return None
    from pipelines.body.model import load_body

    return load_body(path)


@cache
def _look() -> BlazePoseLook:
    from pipelines.stages.people import PeopleConfig
    from pipelines.stages.people_blazepose import BlazePoseLook

    config = PeopleConfig()
    return BlazePoseLook(config.detection, config.presence, config.tile_detection, config.tile_presence, again=True)


@cache
def _classifier(spec: str) -> Classifier:
    from pipelines.audit.sensitive import load_classifier

    return load_classifier(spec)
