"""YOLOX: letterbox, decoding of the grid, suppression; any size of it, by the shapes of its graph.

What the published `yolox_l.onnx` (Megvii's release 0.1.1, which DWPose uses) was made with: a picture in BGR, 0 to 255,
resized with its aspect, at the top left of a canvas of 114 (YOLOX yolox/data/data_augment.py, `preproc`).

Boxes are continuous pixels, as in `pipelines.clip`, before and after: OpenCV's resize keeps the corners of the image,
not the centres of its first pixels, and YOLOX learnt COCO's boxes, which are continuous too. So no half pixels are
added. The public code divides boxes by the ratio of the letterbox; here each axis is divided by its own, which the
cutting of the sides to whole pixels makes a little smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from pipelines.clip import Floats, Frames
from pipelines.stages.dwpose.providers import Device
from pipelines.stages.dwpose.session import NOT_FINITE, Net
from pipelines.weights_error import WeightsError

STRIDES = (8, 16, 32)
CANVAS = 114


@dataclass(frozen=True)
class Detections:
    """People of one frame, best first. boxes: float32 (N, 4), x0 y0 x1 y1 pixels. scores: float32 (N,), 0..1."""

    boxes: Floats
    scores: Floats


class Yolox:
    """People by a YOLOX net without NMS inside, of any size and number of classes; class 0 is a person.

    minimum_score: least objectness times class score (DWPose: 0.3, rtmlib: 0.7). nms: boxes that overlap a better one
    by more (IoU) are dropped. channels: the order that the net was trained with; Megvii's releases take BGR.
    """

    def __init__(
        self,
        path: Path,
        device: Device = "auto",
        batch: int = 8,
        *,
        minimum_score: float = 0.3,
        nms: float = 0.45,
        channels: Literal["bgr", "rgb"] = "bgr",
        threads: int = 1,
    ) -> None:
        self.net = Net(path, device, threads)
        self.batch = self.net.fixed_batch or batch
        self.minimum_score = minimum_score
        self.nms = nms
        self.channels = channels
        height, width = self.net.input_size
        if height % STRIDES[-1] or width % STRIDES[-1]:
            raise WeightsError(self.net.path, f"expected an input of multiples of {STRIDES[-1]}, got {height}x{width}")
        self.cells, self.strides = grid(height, width)
        if len(self.net.output_shapes) != 1:
            raise WeightsError(self.net.path, f"{self._expected()}; it has the outputs {self.net.output_names}")
        self._check(self.net.output_shapes[0])

    def _expected(self) -> str:
        return (
            f"expected one output (N, {len(self.cells)}, 5 + classes) of a YOLOX exported without NMS inside, such as "
            "yolox_l.onnx of the Hugging Face repository yzd-v/DWPose"
        )

    def _check(self, shape: Sequence[int | str | None]) -> None:
        expected = (None, len(self.cells), None)
        fixed = [(want, got) for want, got in zip(expected, shape) if want is not None and isinstance(got, int)]
        columns = shape[-1]
        if len(shape) != 3 or any(want != got for want, got in fixed) or (isinstance(columns, int) and columns < 6):
            raise WeightsError(self.net.path, f"{self._expected()}; its output is {list(shape)}")

    def __call__(self, frames: Sequence[Frames]) -> list[Detections]:
        """Those of each frame, uint8 (H, W, 3) RGB, of any sizes."""
        if len(frames) == 0:
            return []
        pictures = np.empty((len(frames), 3, *self.net.input_size), np.float32)
        order = [2, 1, 0] if self.channels == "bgr" else [0, 1, 2]
        for picture, frame in zip(pictures, frames):
            picture[:] = letterbox(frame, self.net.input_size).transpose(2, 0, 1)[order]
        rows = self.net(pictures, self.batch)[0]
        self._check(rows.shape)
        return [self._decode(row, frame.shape[1], frame.shape[0]) for row, frame in zip(rows, frames)]

    def _decode(self, rows: Floats, width: int, height: int) -> Detections:
        """rows: (cells, 5 + classes).

        DWPose keeps what scores more than 0.1, suppresses, and keeps what then scores more than 0.3. A worse box never
        suppresses a better one, so asking for the higher score first gives the same, and only person boxes compete with
        person boxes, so the other classes are not looked at.
        """
        scores = rows[:, 4] * rows[:, 5]
        if not np.isfinite(scores).all():
            raise WeightsError(self.net.path, NOT_FINITE)
        keep = scores > self.minimum_score
        found, stride = rows[keep], self.strides[keep, None]
        centres = (found[:, :2] + self.cells[keep]) * stride
        halves = np.exp(found[:, 2:4]) * stride / 2
        boxes = np.concatenate([centres - halves, centres + halves], axis=1)
        across, down = shrunk_size(width, height, self.net.input_size)
        boxes /= np.array([across / width, down / height] * 2, np.float32)
        best = suppress(boxes, scores[keep], self.nms)
        return Detections(boxes[best].astype(np.float32), scores[keep][best].astype(np.float32))


def shrunk_size(width: int, height: int, canvas: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of a picture in the letterbox. canvas: (height, width). The sides are cut, not rounded."""
    ratio = min(canvas[0] / height, canvas[1] / width)
    return max(1, int(width * ratio)), max(1, int(height * ratio))


def letterbox(frame: Frames, canvas: tuple[int, int]) -> Frames:
    """The picture (H, W, 3) with its aspect at the top left of a canvas (height, width) of 114."""
    across, down = shrunk_size(frame.shape[1], frame.shape[0], canvas)
    out = np.full((*canvas, 3), CANVAS, np.uint8)
    out[:down, :across] = cv2.resize(frame, (across, down), interpolation=cv2.INTER_LINEAR)
    return out


def grid(height: int, width: int) -> tuple[Floats, Floats]:
    """The cells of the three strides, row by row: (cells, 2) their column and row, (cells,) their strides."""
    cells, strides = [], []
    for stride in STRIDES:
        y, x = np.mgrid[: height // stride, : width // stride]
        cells.append(np.stack([x.ravel(), y.ravel()], axis=1))
        strides.append(np.full(x.size, stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


def suppress(boxes: Floats, scores: Floats, most: float) -> list[int]:
    """Indices of the boxes (N, 4) that overlap no better one by more than `most` (IoU), best first.

    Sides are counted in whole pixels, last minus first plus one, as YOLOX's own demo does (yolox/utils/demo_utils.py).
    """
    areas = np.prod(boxes[:, 2:] - boxes[:, :2] + 1, axis=1)
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(int(best))
        sides = np.minimum(boxes[best, 2:], boxes[rest, 2:]) - np.maximum(boxes[best, :2], boxes[rest, :2]) + 1
        shared = np.prod(np.maximum(sides, 0), axis=1)
        order = rest[shared <= most * (areas[best] + areas[rest] - shared)]
    return kept
