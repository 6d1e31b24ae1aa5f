"""BlazePose's detector and landmark net as the eyes of `PeopleFilter`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from pipelines.clip import Floats, Frames
from pipelines.stages.blazepose import pose as pose_net
from pipelines.stages.blazepose.nets import CPU, Net
from pipelines.stages.blazepose.roi import Picture, Roi
from pipelines.stages.blazepose.ssd import POSE_STRIDES, Detector
from pipelines.stages.people_tracks import Sighting, merge_same_person

# Least scores of the second look. In 192 looks at single people of real videos its false alarms scored up to 0.60; of
# people beside another, 95 in 100 scored 0.75 or more.
BESIDE_DETECTION, BESIDE_PRESENCE = 0.6, 0.9


class BlazePoseLook:
    """All people of a frame.

    People are looked for on the whole frame and on overlapping squares of the frame's shorter side, because the
    detector sees 224 pixels of whatever it is given. Each find is verified by the landmark net, whose points also give
    the box.

    detection: 0..1, least score of the detector. presence: 0..1, least score of the landmark net, which verifies every
    detection. tile_detection, tile_presence: the same for what is only found on a tile of the frame, where false alarms
    are more common. providers: ONNX Runtime execution providers.
    again: look a second time with the people who were found painted black. The detector scores those beside a prominent
    person low (0.1 to 0.4 where it gives 0.6 to 0.95 to the same ones alone), so that it misses them at any size. It
    nearly doubles the time.
    """

    batch = 1

    def __init__(
        self,
        detection: float,
        presence: float,
        tile_detection: float,
        tile_presence: float,
        providers: Sequence[str] = CPU,
        *,
        again: bool = False,
    ) -> None:
        self.least = (detection, tile_detection)
        self.present = (presence, tile_presence)
        self.detect = Detector(Net("pose_detection", providers), POSE_STRIDES, min(self.least))
        self.verify = pose_net.PoseLandmarks(providers)
        self.again = again

    def __call__(self, frames: Sequence[Frames]) -> list[list[Sighting]]:
        """frames: uint8 (H, W, 3), RGB. For each the people, best first."""
        return [self._one(frame) for frame in frames]

    def _one(self, frame: Frames) -> list[Sighting]:
        picture = Picture(frame)
        width, height = picture.width, picture.height
        found: list[Sighting] = []
        verified: list[Roi] = []
        whole = Roi(width / 2, height / 2, float(max(width, height)))
        for number, roi in enumerate([whole, *tiles(width, height)]):
            least, present = self.least[number > 0], self.present[number > 0]
            for detection in self.detect(picture, roi):
                crop = pose_net.roi_of_detection(detection)
                if detection.score < least or not crop.usable() or _known(crop, verified):
                    continue
                pose = self.verify(picture, crop)
                if pose.presence >= present:
                    verified.append(crop)
                    found.append(Sighting(person_box(pose, width, height), detection.score))
        if self.again and found:
            found += self._beside(picture, painted_black(frame, [sighting.box for sighting in found]))
        return merge_same_person(found)

    def _beside(self, picture: Picture, painted: Frames) -> list[Sighting]:
        """People whom the detector sees only where those found before are painted black.

        The landmark net must see each of them with and without the others: else it is they whom it sees.
        """
        rest = Picture(painted)
        width, height = rest.width, rest.height
        found: list[Sighting] = []
        for roi in [Roi(width / 2, height / 2, float(max(width, height))), *tiles(width, height)]:
            for detection in self.detect(rest, roi):
                crop = pose_net.roi_of_detection(detection)
                if detection.score < BESIDE_DETECTION or not crop.usable():
                    continue
                pose = self.verify(picture, crop)
                if min(pose.presence, self.verify(rest, crop).presence) >= BESIDE_PRESENCE:
                    # Whoever was found at first comes first when two are one person.
                    found.append(Sighting(person_box(pose, width, height), detection.score * 1e-3))
        return found


def painted_black(frame: Frames, boxes: Iterable[Floats]) -> Frames:
    """A copy of the frame (H, W, 3) with boxes (4,), pixels, painted black, as the net knows what lies outside."""
    out = frame.copy()
    for box in boxes:
        x0, y0 = np.maximum(np.floor(box[:2]), 0).astype(int)
        x1, y1 = np.maximum(np.ceil(box[2:]), 0).astype(int)
        out[y0:y1, x0:x1] = 0
    return out


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


def _known(crop: Roi, verified: list[Roi]) -> bool:
    """Whether a verified person already has this circle: tiles overlap, and verifying is the dear part."""
    return any(
        np.hypot(crop.x - other.x, crop.y - other.y) < 0.15 * max(crop.size, other.size)
        and 0.67 < crop.size / other.size < 1.5
        for other in verified
    )
