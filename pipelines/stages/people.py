"""Who is in a clip: find the people, follow the main one, and decide whether the clip shows one person well enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipelines.clip import Floats, Frames, People
from pipelines.stages.blazepose import pose as pose_net
from pipelines.stages.blazepose.chunks import FrameChunks, each_frame
from pipelines.stages.blazepose.nets import CPU, Net
from pipelines.stages.blazepose.roi import Picture, Roi
from pipelines.stages.blazepose.ssd import POSE_STRIDES, Detector
from pipelines.stages.people_tracks import Sighting, Track, boxes_of, follow, merge_same_person
from pipelines.stages.scene_change import ChangeMeter

# Bump when the output changes.
VERSION = "1"


@dataclass(frozen=True)
class PeopleConfig:
    """What is measured, and the thresholds of the decision.

    samples_per_second: how often people are looked for; between two looks the main person's box is interpolated.
    detection: 0..1, least score of the detector. presence: 0..1, least score of the landmark net, which verifies every
        detection. tile_detection, tile_presence: the same for what is only found on a tile of the frame, where false
        alarms are more common.
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


@dataclass
class _Looks:
    """What was seen of a clip so far."""

    frames: list[int] = field(default_factory=list)
    sightings: list[list[Sighting]] = field(default_factory=list)


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
    """Finds and follows people with BlazePose's detector and landmark net.

    People are looked for on the whole frame and on overlapping squares of the frame's shorter side, because the
    detector sees 224 pixels of whatever it is given. Each find is verified by the landmark net, whose points also give
    the box. Who is the main person: the track that covers the largest area over time. One who is away for longer than
    `longest_gap` and returns is another track: nothing here knows faces or clothes.
    """

    def __init__(self, config: PeopleConfig = PeopleConfig(), providers: Sequence[str] = CPU) -> None:
        self.config = config
        minimum = min(config.detection, config.tile_detection)
        self.detect = Detector(Net("pose_detection", providers), POSE_STRIDES, minimum)
        self.verify = pose_net.PoseLandmarks(providers)

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
        looks, meter = _Looks(), ChangeMeter()
        index, last, size = -1, None, (0, 0)
        for index, frame in enumerate(each_frame(frames)):
            meter.add(frame)
            size = (frame.shape[1], frame.shape[0])
            last = frame
            if index % every == 0:
                looks.frames.append(index)
                looks.sightings.append(self.look(frame))
        if last is None:
            raise ValueError("no frames")
        if looks.frames[-1] != index:
            looks.frames.append(index)
            looks.sightings.append(self.look(last))
        gap = max(every, round(fps * self.config.longest_gap))
        return self._decide(looks, index + 1, size, gap, meter.cut())

    def look(self, frame: Frames) -> list[Sighting]:
        """All people of one frame (H, W, 3), each once, best first."""
        picture = Picture(frame)
        width, height = picture.width, picture.height
        found: list[Sighting] = []
        whole = Roi(width / 2, height / 2, float(max(width, height)))
        for number, roi in enumerate([whole, *tiles(width, height)]):
            least = self.config.detection if number == 0 else self.config.tile_detection
            present = self.config.presence if number == 0 else self.config.tile_presence
            for detection in self.detect(picture, roi):
                crop = pose_net.roi_of_detection(detection)
                if detection.score < least or not crop.usable() or _known(crop, found):
                    continue
                pose = self.verify(picture, crop)
                if pose.presence >= present:
                    found.append(Sighting(person_box(pose, width, height), detection.score, crop))
        return merge_same_person(found)

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


def tiles(width: int, height: int) -> list[Roi]:
    """Squares of the shorter side that cover the frame with at least a quarter of overlap.

    None where they would show little more than the whole frame does: it is nearly square, or tiny.
    """
    side, long = float(min(width, height)), max(width, height)
    if long < 1.2 * side or side < 64:
        return []
    count = max(2, int(np.ceil((long - 0.25 * side) / (0.75 * side))))
    places = np.linspace(side / 2, long - side / 2, count)
    return [Roi(float(at), side / 2, side) if width > height else Roi(side / 2, float(at), side) for at in places]


def person_box(pose: pose_net.Pose, width: int, height: int) -> Floats:
    """The box (4,) of a person: bounds of the visible points, a margin for hair, hands and toes, cut to the frame."""
    x0, y0, x1, y1 = pose.box()
    margin = 0.06 * max(x1 - x0, y1 - y0)
    box = np.array([x0 - margin, y0 - 1.5 * margin, x1 + margin, y1 + margin], np.float32)
    limit = np.array([width, height, width, height], np.float32)
    return np.clip(box, 0, limit)


def _known(crop: Roi, found: list[Sighting]) -> bool:
    """Whether a verified person already has this circle: tiles overlap, and verifying is the dear part."""
    return any(
        np.hypot(crop.x - other.roi.x, crop.y - other.roi.y) < 0.15 * max(crop.size, other.roi.size)
        and 0.67 < crop.size / other.roi.size < 1.5
        for other in found
    )


def largest_others(main: Track, looks: _Looks) -> Floats:
    """(N,) for each look at the main person: the largest other box, in areas of the main person's."""
    at = dict(zip(main.frames, main.sightings))
    largest = []
    for frame, sightings in zip(looks.frames, looks.sightings):
        if frame in at:
            others = [other.area() for other in sightings if other is not at[frame]]
            largest.append(max(others, default=0.0) / max(at[frame].area(), 1e-6))
    return np.array(largest, np.float32)
