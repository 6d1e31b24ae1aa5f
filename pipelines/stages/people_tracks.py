"""Following people over time by their boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipelines.clip import Floats
from pipelines.stages.blazepose.ssd import overlap

# Two boxes in one frame are one person when they share this much of the smaller one.
SAME = 0.6


@dataclass(frozen=True)
class Sighting:
    """A person in one frame. box: float32 (4,), x0 y0 x1 y1 pixels. score: 0..1 of the detector."""

    box: Floats
    score: float

    def area(self) -> float:
        return float(np.prod(np.maximum(self.box[2:] - self.box[:2], 0)))


@dataclass
class Track:
    """One person over time: the frames of the looks in which he or she was seen, rising, and the sightings."""

    frames: list[int] = field(default_factory=list)
    sightings: list[Sighting] = field(default_factory=list)

    def weight(self) -> float:
        """How much of the clip it takes: the sum of its areas."""
        return sum(sighting.area() for sighting in self.sightings)


def merge_same_person(sightings: Sequence[Sighting]) -> list[Sighting]:
    """Drop boxes that lie mostly in, or mostly cover, that of a better scored sighting: parts of one person."""
    kept: list[Sighting] = []
    for sighting in sorted(sightings, key=lambda s: -s.score):
        if all(shared(sighting.box, other.box) < SAME for other in kept):
            kept.append(sighting)
    return kept


def shared(a: Floats, b: Floats) -> float:
    """Intersection over the area of the smaller box."""
    sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    smaller = min(float(np.prod(a[2:] - a[:2])), float(np.prod(b[2:] - b[:2])))
    return float(np.prod(sides)) / max(smaller, 1e-6)


def affinity(a: Floats, b: Floats) -> float:
    """How likely two boxes of neighbouring looks are one person: overlap, or nearness for one who moves fast; 0 is no.

    Overlap (IoU) counts double, so that a person never goes to a near track when an overlapping one is there.
    """
    iou = float(overlap(a, b[None])[0])
    size = max(float((a[2:] - a[:2]).max()), float((b[2:] - b[:2]).max()), 1e-6)
    distance = float(np.linalg.norm((a[:2] + a[2:] - b[:2] - b[2:]) / 2)) / size
    near = max(0.0, 0.5 - distance)
    return 2 * iou + near if iou > 0.1 or near > 0.15 else 0.0


def follow(frames: Sequence[int], sightings: Sequence[Sequence[Sighting]], gap: int) -> list[Track]:
    """Join the sightings of each look to the tracks that ended at most `gap` frames before, best pairs first."""
    tracks: list[Track] = []
    for frame, present in zip(frames, sightings):
        open_tracks = [track for track in tracks if frame - track.frames[-1] <= gap]
        pairs = [
            (affinity(track.sightings[-1].box, sighting.box), -i, -j)
            for i, track in enumerate(open_tracks)
            for j, sighting in enumerate(present)
        ]
        taken: set[int] = set()
        joined: set[int] = set()
        for likely, i, j in sorted(pairs, reverse=True):
            if likely > 0 and -i not in joined and -j not in taken:
                joined.add(-i)
                taken.add(-j)
                open_tracks[-i].frames.append(frame)
                open_tracks[-i].sightings.append(present[-j])
        tracks += [Track([frame], [sighting]) for j, sighting in enumerate(present) if j not in taken]
    return tracks


def boxes_of(track: Track, count: int) -> Floats:
    """(count, 4): the track's box in every frame, linear between looks; NaN before the first and after the last."""
    boxes = np.full((count, 4), np.nan, np.float32)
    frames = np.array(track.frames)
    seen = np.stack([sighting.box for sighting in track.sightings])
    span = np.arange(frames[0], frames[-1] + 1)
    for side in range(4):
        boxes[span, side] = np.interp(span, frames, seen[:, side])
    return boxes
