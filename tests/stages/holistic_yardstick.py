"""How far our key points are from MediaPipe Holistic's own, on the videos in ../shared/reference.

    OMP_NUM_THREADS=1 python -m tests.stages.holistic_yardstick [folder]

The reference was made with `static_image_mode=True`, that is without tracking, on the frames `frame_index`; its x and y
are in 0..1 of the picture `size` (width, height). Distances are in percent of the longer side of the person's box, the
bounds of the reference's 33 points. They count where both see: for the body, visibility of at least 0.5 on both sides;
for a hand or the face, where the reference has one and our score is at least 0.5.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.clip import BODY, FACE, LEFT_HAND, RIGHT_HAND, Floats
from pipelines.stages.blazepose.coco_wholebody import COCO_FROM_POSE, IBUG_FROM_MESH
from pipelines.stages.keypoints_blazepose import BlazePoseWholeBody
from pipelines.stages.people import PeopleFilter
from tests.stages.clips import read_clip

NAMES = {"musepose_dance": "musepose_dance.mp4", "dreampose_demo": "dreampose_demo.mov"}


@dataclass(frozen=True)
class Agreement:
    """median, p95: percent of the person's longer side, over points that both see; NaN when there are none.
    frames_within_5: share of the frames both see whose median distance is within 5 %.
    reference, ours, both: in how many frames of the reference who sees the part.
    """

    median: float
    p95: float
    frames_within_5: float
    reference: int
    ours: int
    both: int

    def __str__(self) -> str:
        return (
            f"median {self.median:5.2f} %   p95 {self.p95:5.2f} %   frames within 5 %: {self.frames_within_5:6.1%}   "
            f"seen by reference {self.reference:3d}, by us {self.ours:3d}, by both {self.both:3d}"
        )


def agreement(percent: Floats, theirs: NDArray[np.bool_], ours: NDArray[np.bool_]) -> Agreement:
    """percent (N, K); theirs, ours: bool (N, K), who sees the point."""
    both = theirs & ours
    rows = [np.median(row[seen]) for row, seen in zip(percent, both) if seen.any()]
    values = percent[both] if both.any() else np.array([np.nan])
    return Agreement(
        float(np.median(values)),
        float(np.percentile(values, 95)),
        float(np.mean(np.array(rows) <= 5)) if rows else float("nan"),
        int(theirs.any(axis=1).sum()),
        int(ours.any(axis=1).sum()),
        int(both.any(axis=1).sum()),
    )


def measure(shared: Path, name: str, stop: int | None = None) -> tuple[dict[str, Agreement], float]:
    """The agreement of each part on the first `stop` frames, and our frames a second, boxes included in neither."""
    reference = np.load(shared / "reference" / f"{name}.npz", allow_pickle=False)
    index = reference["frame_index"]
    index = index[index < stop] if stop else index
    frames, fps = read_clip(shared / "media" / NAMES[name], stop=int(index[-1]) + 1)
    size = reference["size"].astype(np.float32)
    if tuple(size.astype(int)) != (frames.shape[2], frames.shape[1]):
        raise ValueError(f"{name}: the reference is for {size}, the video has {frames.shape}")
    boxes = PeopleFilter()(frames, fps).boxes
    net = BlazePoseWholeBody()
    start = time.perf_counter()
    keypoints = net(frames, boxes)
    speed = len(frames) / (time.perf_counter() - start)
    count = len(index)
    pose = reference["pose"][:count]
    body = pose[..., :2] * size
    longer = np.ptp(body, axis=1).max(axis=1)[:, None]
    parts = {
        "body": (BODY, body[:, list(COCO_FROM_POSE)], pose[:, list(COCO_FROM_POSE), 3] >= 0.5),
        "face": (FACE, reference["face"][:count, list(IBUG_FROM_MESH), :2] * size, None),
        "left hand": (LEFT_HAND, reference["left_hand"][:count, :, :2] * size, None),
        "right hand": (RIGHT_HAND, reference["right_hand"][:count, :, :2] * size, None),
    }
    found = {}
    for part, (where, theirs, visible) in parts.items():
        percent = np.linalg.norm(keypoints.points[index][:, where] - theirs, axis=-1) / longer * 100
        visible = np.isfinite(percent) if visible is None else visible
        found[part] = agreement(percent, visible, keypoints.scores[index][:, where] >= 0.5)
    return found, speed


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2].parent / "shared"
    for video in NAMES:
        result, speed = measure(folder, video)
        print(f"{video}: {speed:.1f} frames/s")
        for part, value in result.items():
            print(f"  {part:10s} {value}")
