"""Who is in a clip: find the people, follow the main one, and decide whether the clip shows one person well enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from pipelines.clip import Floats, Frames, People
from pipelines.stages.blazepose.chunks import FrameChunks, each_frame
from pipelines.stages.people_blazepose import BlazePoseLook
from pipelines.stages.people_tracks import Sighting, Track, boxes_of, follow
from pipelines.stages.scene_change import ChangeMeter

# Bump when the output changes.
VERSION = "1"


@dataclass(frozen=True)
class PeopleConfig:
    """What is measured, and the thresholds of the decision.

    samples_per_second: how often people are looked for; between two looks the main person's box is interpolated.
    detection, presence, tile_detection, tile_presence: least scores of BlazePose's two nets (see `BlazePoseLook`);
        without meaning for another look.
    longest_gap: seconds that the main person may go unseen and still be the same track.
    minimum_present: least share of looks in which the main person is seen.
    minimum_alone: least share of those looks without a rival. A rival is another person whose box has more than
        `rival_area` of the main person's area.
    minimum_height: least median height of the main person's box, in frame heights. minimum_side: the same in pixels, of
        its longer side.
    cut: least sudden change of the picture, relative to those around it, that is a cut (see `ChangeMeter.cut`).
    """

    samples_per_second: float = 4.0
    detection: float = 0.5
    presence: float = 0.5
    tile_detection: float = 0.5
    tile_presence: float = 0.9
    longest_gap: float = 1.0
    minimum_present: float = 0.95
    minimum_alone: float = 0.95
    rival_area: float = 0.25
    minimum_height: float = 0.25
    minimum_side: float = 160.0
    cut: float = 2.0

    def __post_init__(self) -> None:
        if not self.samples_per_second > 0:
            raise ValueError(f"samples_per_second: expected a positive number, got {self.samples_per_second}")


class Look(Protocol):
    """A detector of people: all people of each frame (H, W, 3), each once, best first.

    batch: how many frames it is best shown together.
    """

    batch: int

    def __call__(self, frames: Sequence[Frames]) -> list[list[Sighting]]: ...


@dataclass
class _Looks:
    """What was seen of a clip so far, and the frames that wait until there are enough of them for a look."""

    look: Look
    frames: list[int] = field(default_factory=list)
    sightings: list[list[Sighting]] = field(default_factory=list)
    waiting: list[Frames] = field(default_factory=list)

    def add(self, index: int, frame: Frames) -> None:
        self.frames.append(index)
        # A view would keep its whole chunk in memory.
        self.waiting.append(frame if self.look.batch == 1 else frame.copy())
        if len(self.waiting) >= self.look.batch:
            self.finish()

    def finish(self) -> None:
        if self.waiting:
            self.sightings += self.look(self.waiting)
            self.waiting = []


def reason_to_drop(scores: dict[str, float], config: PeopleConfig) -> str | None:
    """Why a clip with these scores of `PeopleFilter` is to be dropped; None to keep it.

    The reasons, in the order in which they are checked:
        cut_inside    the picture changes suddenly: more than one shot
        nobody        no person was ever verified
        too_small     the main person's box is too low or has too few pixels
        crowd         too often there is somebody else of comparable size
        intermittent  the main person is unseen too often
    """
    if scores["cut"] >= config.cut:
        return "cut_inside"
    if scores["present"] == 0:
        return "nobody"
    if scores["height"] < config.minimum_height or scores["side"] < config.minimum_side:
        return "too_small"
    if scores["alone"] < config.minimum_alone:
        return "crowd"
    if scores["present"] < config.minimum_present:
        return "intermittent"
    return None


class PeopleFilter:
    """Finds people with a detector, follows them, and decides.

    Who is the main person: the track that covers the largest area over time. One who is away for longer than
    `longest_gap` and returns is another track: nothing here knows faces or clothes.

    look: the detector; BlazePose's nets, which are shipped, when none is given.
    """

    def __init__(self, config: PeopleConfig = PeopleConfig(), look: Look | None = None) -> None:
        self.config = config
        self.look: Look = look or BlazePoseLook(
            config.detection, config.presence, config.tile_detection, config.tile_presence
        )

    def __call__(self, frames: FrameChunks, fps: float) -> People:
        """frames: uint8 (T, H, W, 3) RGB, or an iterable of chunks (n, H, W, 3) in order, read once. fps: a second.

        The boxes are exact in the frames that were looked at and linear between them; NaN before the main person is
        first seen and after the last time.

        Scores: `frames`; `looks`, the number of frames that were searched; `cut`, 0 or more; `present`, the share of
        looks with the main person, and `alone`, the share of those without a rival; `people`, the mean number of
        people; `rival_area`, the 95th percentile of the largest other box in areas of the main one; `height`, the
        median of the main box in frame heights; `side`, the median of its longer side in pixels. Those of the main
        person are 0 when there is none.
        Raises ValueError for a clip without frames.
        """
        if not fps > 0:
            raise ValueError(f"fps: expected a positive number, got {fps}")
        every = max(1, round(fps / self.config.samples_per_second))
        looks, meter = _Looks(self.look), ChangeMeter()
        index, last, size = -1, None, (0, 0)
        for index, frame in enumerate(each_frame(frames)):
            meter.add(frame)
            size = (frame.shape[1], frame.shape[0])
            last = frame
            if index % every == 0:
                looks.add(index, frame)
        if last is None:
            raise ValueError("no frames")
        if looks.frames[-1] != index:
            looks.add(index, last)
        looks.finish()
        gap = max(every, round(fps * self.config.longest_gap))
        return self._decide(looks, index + 1, size, gap, meter.cut())

    def _decide(self, looks: _Looks, count: int, size: tuple[int, int], gap: int, cut: float) -> People:
        tracks = follow(looks.frames, looks.sightings, gap)
        number = len(looks.frames)
        scores = {"frames": float(count), "looks": float(number), "cut": cut}
        scores["people"] = sum(map(len, looks.sightings)) / number
        main = max(tracks, key=Track.weight, default=None)
        if main is None:
            scores |= dict.fromkeys(("present", "alone", "rival_area", "height", "side"), 0.0)
            return People(np.full((count, 4), np.nan, np.float32), reason_to_drop(scores, self.config), scores)
        boxes = np.stack([sighting.box for sighting in main.sightings])
        sides = boxes[:, 2:] - boxes[:, :2]
        rivals = largest_others(main, looks)
        scores["present"] = len(main.frames) / number
        scores["alone"] = float(np.mean(rivals <= self.config.rival_area))
        scores["rival_area"] = float(np.percentile(rivals, 95))
        scores["height"] = float(np.median(sides[:, 1])) / size[1]
        scores["side"] = float(np.median(sides.max(axis=1)))
        return People(boxes_of(main, count), reason_to_drop(scores, self.config), scores)


def largest_others(main: Track, looks: _Looks) -> Floats:
    """(N,) for each look at the main person: the largest other box, in areas of the main person's."""
    at = dict(zip(main.frames, main.sightings))
    largest = []
    for frame, sightings in zip(looks.frames, looks.sightings):
        if frame in at:
            others = [other.area() for other in sightings if other is not at[frame]]
            largest.append(max(others, default=0.0) / max(at[frame].area(), 1e-6))
    return np.array(largest, np.float32)
