"""The faults of the planted set: what turns a clip into a copy of itself, swaps its sides, or breaks its sample."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction

import cv2
import numpy as np

from pipelines.audit.planted_film import Take
from pipelines.clip import Frames, Keypoints
from pipelines.shard_format import encode_meta

FPS = Fraction(24)
CORRUPTIONS = ("truncated_video", "broken_npz", "nan_json", "absurd_frames", "no_face")
# A mirror also renames the 68 points of the face (counted from the first of the 133).
_FACE_PAIRS = (
    *((23 + k, 39 - k) for k in range(8)), *((40 + k, 49 - k) for k in range(5)), *((54 + k, 58 - k) for k in range(2)),
    *zip((59, 60, 61, 62, 63, 64), (68, 67, 66, 65, 70, 69)), *((71 + k, 77 - k) for k in range(3)),
    (78, 82), (79, 81), (83, 87), (84, 86), (88, 90),
)  # fmt: skip
# Pairs of the 17 body points that change places in a swap.
_BODY_PAIRS = ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16))


@dataclass
class Clip:
    """A clip before it is written."""

    key: str
    person: int
    take: Take
    frames: Frames
    keypoints: Keypoints
    source: str
    uploader: str
    fps: Fraction = FPS
    crf: int = 18
    licence: str = "CC0-1.0"
    split: str = "train"
    members: dict[str, bytes] | None = None
    quality: dict[str, float] = field(default_factory=dict)


def reencoded(clip: Clip, rng: np.random.Generator) -> Clip:
    """Smaller, and compressed until it shows."""
    scale = rng.uniform(0.7, 0.9)
    height, width = (int(side * scale) // 2 * 2 for side in clip.frames.shape[1:3])
    return _resized(replace(clip, crf=int(rng.integers(30, 36))), (0, 0, *clip.frames.shape[2:0:-1]), (width, height))


def cropped(clip: Clip, rng: np.random.Generator) -> Clip:
    """Up to an eighth of each side cut away, brought back to the old size in one direction."""
    height, width = clip.frames.shape[1:3]
    cuts = rng.uniform(0.04, 0.12, 4) * (width, height, width, height)
    x0, y0, x1, y1 = int(cuts[0]), int(cuts[1]), int(width - cuts[2]), int(height - cuts[3])
    return _resized(clip, (x0, y0, x1, y1), (width, round(width * (y1 - y0) / (x1 - x0) / 2) * 2))


def mirrored(clip: Clip, rng: np.random.Generator) -> Clip:
    """Left and right exchanged, as an estimator would then see it: the points are named anew."""
    points = clip.keypoints.points.copy()
    points[..., 0] = clip.frames.shape[2] - points[..., 0]
    turned = swap_sides(replace(clip.keypoints, points=points), whole=True, face=True)
    boxes = turned.boxes.copy()
    boxes[:, [0, 2]] = clip.frames.shape[2] - boxes[:, [2, 0]]
    frames = np.ascontiguousarray(clip.frames[:, :, ::-1])
    return replace(clip, frames=frames, keypoints=replace(turned, boxes=boxes), take=clip.take.mirrored())


def retimed(clip: Clip, rng: np.random.Generator) -> Clip:
    """Faster or slower: frames left out or repeated in between, at the same frame rate."""
    speed = float(rng.choice([0.75, 1.25, 1.5]))
    count = max(8, round(len(clip.frames) / speed))
    at = np.clip(np.rint(np.arange(count) * speed), 0, len(clip.frames) - 1).astype(int)
    k = clip.keypoints
    keypoints = replace(k, points=k.points[at], scores=k.scores[at], boxes=k.boxes[at])
    return replace(clip, frames=clip.frames[at], keypoints=keypoints, take=clip.take.at(at))


ALTERATIONS: dict[str, Callable[[Clip, np.random.Generator], Clip]] = {
    "reencoded": reencoded, "cropped": cropped, "mirrored": mirrored, "retimed": retimed,
}  # fmt: skip


def _resized(clip: Clip, window: tuple[int, int, int, int], size: tuple[int, int]) -> Clip:
    x0, y0, x1, y1 = window
    scale = np.array([size[0] / (x1 - x0), size[1] / (y1 - y0)], np.float32)
    frames = np.stack([cv2.resize(f[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA) for f in clip.frames])
    k, start = clip.keypoints, np.array([x0, y0], np.float32)
    points = (k.points - start) * scale
    boxes = ((k.boxes.reshape(-1, 2, 2) - start) * scale).reshape(-1, 4)
    return replace(clip, frames=frames.astype(np.uint8), keypoints=replace(k, points=points, boxes=boxes),
                   take=clip.take.seen_in(window, size))  # fmt: skip


def swap_sides(keypoints: Keypoints, whole: bool, face: bool = False) -> Keypoints:
    """Left and right of body, feet and hands (and face) exchanged: everywhere, or in the middle half of the clip."""
    order = np.arange(133)
    pairs = [*_BODY_PAIRS, *((17 + k, 20 + k) for k in range(3)), *((91 + k, 112 + k) for k in range(21))]
    for a, b in [*pairs, *(_FACE_PAIRS if face else ())]:
        order[[a, b]] = b, a
    frames = slice(None) if whole else slice(len(keypoints) // 4, 3 * len(keypoints) // 4)
    points, scores = keypoints.points.copy(), keypoints.scores.copy()
    points[frames], scores[frames] = points[frames][:, order], scores[frames][:, order]
    return replace(keypoints, points=points, scores=scores)


def corrupted(members: dict[str, bytes], kind: str) -> dict[str, bytes]:
    """The members of a sample with one fault of CORRUPTIONS."""
    bad = dict(members)
    if kind == "truncated_video":
        bad["video.mp4"] = bad["video.mp4"][: len(bad["video.mp4"]) // 2]
    elif kind == "broken_npz":
        bad["smplx.npz"] = bad["smplx.npz"][:-40]
    elif kind == "nan_json":
        bad["json"] = bad["json"].replace(b'"frames": ', b'"weight": NaN, "frames": ')
    elif kind == "absurd_frames":
        meta = json.loads(bad["json"])
        bad["json"] = encode_meta({**meta, "frames": 10**12})
    elif kind == "no_face":
        del bad["face.npz"]
    else:
        raise ValueError(f"kind should be one of {', '.join(CORRUPTIONS)}, is {kind!r}")
    return bad
