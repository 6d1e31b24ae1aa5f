"""What the frames of a clip show of themselves: cuts, stills, bars, overlays, sharpness, light, compression."""

from __future__ import annotations

import hashlib
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.audit.fingerprint import Fingerprints, sample_times
from pipelines.audit.overlays import black_bars, overlay_share
from pipelines.shard_format import BadSample, Sample
from pipelines.stages.scene_change import ChangeMeter
from pipelines.video.reader import ClipReader

VERSION = "1"
"""Changes when the same video gives other values."""

Grey = NDArray[np.uint8]
CHUNK = 16
# A frame repeats the one before when no pixel changes by more than SAME grey levels (the picture brought to STILL_SIDE
# at most): codecs leave less than that of a still picture, while whoever breathes moves an edge by more. At its key
# frames a codec draws a still picture anew, which changes all of it a little: such a step may stand between two others.
SAME, ANEW_MEAN, ANEW_MOST, STILL_SIDE = 8, 2.5, 20, 256
DARK, BRIGHT = 8, 247
SHARPNESS_HEIGHT = 256


def measure_picture(sample: Sample) -> tuple[dict[str, Any], Fingerprints]:
    """A row of `schema.PICTURE` without people, and the fingerprints. Decodes the video once, a few frames at a time.

    Raises `BadSample` where the video cannot be decoded, has another size, or not as many frames as the json says.
    """
    frames, size = int(sample.meta["frames"]), tuple(sample.meta["size"])
    meter, still, digest = ChangeMeter(), _Stills(), hashlib.sha256()
    sampled: list[Grey] = []
    wanted = set(sample_times(frames).tolist())
    index = -1
    try:
        with ClipReader(sample.video) as reader:
            if reader.size != size:
                raise BadSample(f"video.mp4 is {reader.size[0]}x{reader.size[1]}, json says {size[0]}x{size[1]}")
            if len(reader) != frames:
                raise BadSample(f"video.mp4 has {len(reader)} frames, json says {frames}")
            for chunk in reader.chunks(CHUNK):
                for frame in chunk:
                    index += 1
                    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
                    digest.update(grey)
                    meter.add(frame)
                    still.add(grey)
                    if index in wanted:
                        sampled.append(np.asarray(grey, np.uint8))
    except (ValueError, OSError) as error:
        if isinstance(error, BadSample):
            raise
        raise BadSample(f"video.mp4 cannot be decoded: {error}") from error
    stack = np.stack(sampled)
    top, bottom, left, right = bars = black_bars(stack)
    clear = stack[:, top : stack.shape[1] - bottom, left : stack.shape[2] - right]
    luma = clear.mean(axis=(1, 2)) / 255
    row = {
        "decoded_frames": index + 1,
        "cut": meter.cut(),
        "cut_frame": int(np.argmax(meter.changes)) + 1 if meter.changes else None,
        "frozen": still.longest() / max(frames - 1, 1),
        "repeated": still.share(),
        "bars": 1 - clear.shape[1] * clear.shape[2] / (size[0] * size[1]),
        "overlay": overlay_share(clear),
        "blur": sharpness(stack, sample.keypoints.boxes[sorted(wanted)]),
        "brightness": float(luma.mean()),
        "too_dark": float((clear <= DARK).mean()),
        "too_bright": float((clear >= BRIGHT).mean()),
        "blockiness": blockiness(clear),
        "bits_per_pixel": 8 * len(sample.video) / (frames * size[0] * size[1]),
        "video_sha256": hashlib.sha256(sample.video).hexdigest(),
        "frames_sha256": digest.hexdigest(),
    }
    return row, Fingerprints.of(stack, bars, sample)


class _Stills:
    """Which frames repeat the one before."""

    def __init__(self) -> None:
        self.same: list[bool] = []
        self.anew: list[bool] = []
        self._last: NDArray[np.int16] | None = None

    def add(self, grey: Any) -> None:
        scale = min(1.0, STILL_SIDE / min(grey.shape))
        small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.int16)
        if self._last is not None:
            change = np.abs(small - self._last)
            most = int(change.max())
            self.same.append(most <= SAME)
            self.anew.append(most <= ANEW_MOST and float(change.mean()) <= ANEW_MEAN)
        self._last = small

    def _repeats(self) -> list[bool]:
        same = self.same
        between = [0 < i < len(same) - 1 and same[i - 1] and same[i + 1] for i in range(len(same))]
        return [now or (anew and bridge) for now, anew, bridge in zip(same, self.anew, between)]

    def longest(self) -> int:
        """The most frames in a row that repeat the one before."""
        longest = run = 0
        for same in self._repeats():
            run = run + 1 if same else 0
            longest = max(longest, run)
        return longest

    def share(self) -> float:
        return float(np.mean(self._repeats())) if self.same else 0.0


def sharpness(stack: Grey, boxes: NDArray[np.float32]) -> float | None:
    """Median over frames of the variance of the Laplacian over that of the picture, in the person's box.

    stack: uint8 (N, H, W). boxes: (N, 4), pixels. The box is brought to one height first, so that clips compare.
    """
    values = []
    for grey, box in zip(stack, boxes):
        if not np.isfinite(box).all():
            continue
        x0, y0, x1, y1 = np.clip(box, 0, [grey.shape[1], grey.shape[0]] * 2).astype(int)
        if x1 - x0 < 8 or y1 - y0 < 8:
            continue
        scale = SHARPNESS_HEIGHT / (y1 - y0)
        inside = cv2.resize(grey[y0:y1, x0:x1], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        inside = inside.astype(np.float32)
        values.append(cv2.Laplacian(inside, cv2.CV_32F).var() / (inside.var() + 1))
    return float(np.median(values)) if values else None


def blockiness(stack: Grey) -> float:
    """Mean step across the borders of 8-pixel blocks over the mean step beside them; 1 is none. stack: (N, H, W).

    Sees the blocks of this encoding; those of an earlier one that was resized lie on another grid.
    """
    ratios = []
    for axis in (1, 2):
        step = np.abs(np.diff(stack.astype(np.int16), axis=axis)).mean(axis=tuple(k for k in range(3) if k != axis))
        border = np.arange(1, len(step) + 1) % 8 == 0
        if border.any() and not border.all():
            ratios.append((step[border].mean() + 0.1) / (step[~border].mean() + 0.1))
    return float(max(ratios, default=1.0))
