"""YOLOX as the eyes of `PeopleFilter`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.clip import Frames
from pipelines.stages.dwpose.yolox import Yolox
from pipelines.stages.people_tracks import Sighting, merge_same_person

# Bump when the output changes.
VERSION = "1"


class YoloxLook:
    """People of frames by YOLOX, each once, cut to the frame. To be given to `PeopleFilter(config, look=...)`.

    batch: how many frames are looked at together.
    """

    def __init__(self, detector: Yolox) -> None:
        self.detector = detector
        self.batch = detector.batch

    def __call__(self, frames: Sequence[Frames]) -> list[list[Sighting]]:
        """frames: uint8 (H, W, 3), RGB. For each the people, best first."""
        looks = []
        for frame, found in zip(frames, self.detector(frames)):
            height, width = frame.shape[:2]
            limit = np.array([width, height, width, height], np.float32)
            boxes = np.clip(found.boxes, 0, limit)
            sightings = [Sighting(box, float(score)) for box, score in zip(boxes, found.scores)]
            looks.append(merge_same_person([sighting for sighting in sightings if sighting.area() > 0]))
        return looks
