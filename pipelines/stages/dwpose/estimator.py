"""133 key points of the main person with DWPose or another RTMPose-like net for COCO-WholeBody."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines.clip import Floats, Frames, Keypoints
from pipelines.stages.blazepose.chunks import FrameChunks, each_frame
from pipelines.stages.dwpose.crop import Crop, crop_of_box, normalised
from pipelines.stages.dwpose.providers import Device
from pipelines.stages.dwpose.session import NOT_FINITE, Net
from pipelines.stages.dwpose.simcc import decode
from pipelines.weights_error import WeightsError

# Bump when the output changes.
VERSION = "1"
POINTS = 133


class DWPose:
    """A top-down net with SimCC outputs: input (N, 3, H, W), outputs (N, 133, W * bins) and (N, 133, H * bins).

    pose_onnx: `dw-ll_ucoco_384.onnx` or another of that form: sizes and bins to a pixel are read from the graph.
    device: see `providers`. batch: the most people that go through the net at once; a graph with a fixed batch decides
    itself. threads: of the CPU provider.

    `batch` and the frames' chunks do not change which frames go through together, so equal input gives equal output.
    """

    def __init__(self, pose_onnx: Path, device: Device = "auto", batch: int = 16, *, threads: int = 1) -> None:
        self.net = Net(pose_onnx, device, threads)
        self.batch = self.net.fixed_batch or max(1, batch)
        self.estimator = f"dwpose/{VERSION} ({self.net.path.stem})"
        self.x, self.y = self._outputs()
        self._bins(*(self.net.output_shapes[i] for i in (self.x, self.y)))

    def _outputs(self) -> tuple[int, int]:
        names = self.net.output_names
        if len(names) != 2:
            raise WeightsError(self.net.path, f"{self._expected()}; it has the outputs {names}")
        return (1, 0) if names == ["simcc_y", "simcc_x"] else (0, 1)

    def _expected(self) -> str:
        height, width = self.net.input_size
        return (
            f"expected the two SimCC outputs of a whole-body net, (N, {POINTS}, {width} * bins) and "
            f"(N, {POINTS}, {height} * bins), such as those of dw-ll_ucoco_384.onnx"
        )

    def _bins(self, x: Sequence[int | str | None], y: Sequence[int | str | None]) -> float | None:
        """Bins to a pixel, from the shapes of the outputs; None when the graph leaves them open."""
        height, width = self.net.input_size
        told = f"its outputs are {list(x)} and {list(y)}"
        if len(x) != 3 or len(y) != 3 or any(isinstance(n, int) and n != POINTS for n in (x[1], y[1])):
            raise WeightsError(self.net.path, f"{self._expected()}; {told}")
        if not isinstance(x[2], int) or not isinstance(y[2], int):
            return None
        if x[2] * height != y[2] * width:
            raise WeightsError(self.net.path, f"{self._expected()} with as many bins to a pixel across as down; {told}")
        return x[2] / width

    def __call__(self, frames: FrameChunks, boxes: Floats) -> Keypoints:
        """frames: uint8 (T, H, W, 3) RGB, or an iterable of chunks (n, H, W, 3) of one size in order; each chunk is
        read once and not kept. boxes: float (T, 4), x0 y0 x1 y1 pixels, the main person; NaN where there is nobody.

        Where there is nobody all scores are 0. (DWPose itself takes the whole image for a person then.)
        Raises ValueError when there are not as many frames as boxes.
        """
        boxes = np.asarray(boxes, np.float32)
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ValueError(f"boxes: expected (T, 4), got {boxes.shape}")
        count = len(boxes)
        points = np.zeros((count, POINTS, 2), np.float32)
        scores = np.zeros((count, POINTS), np.float32)
        waiting: list[tuple[int, Crop, Frames]] = []

        def flush() -> None:
            if waiting:
                at = [index for index, _, _ in waiting]
                points[at], scores[at] = self._run([c for _, c, _ in waiting], np.stack([p for _, _, p in waiting]))
                waiting.clear()

        seen = 0
        for index, frame in enumerate(each_frame(frames)):
            seen = index + 1
            if seen > count:
                raise ValueError(f"more frames than the {count} boxes")
            crop = crop_of_box(boxes[index], self.net.input_size)
            if crop is not None:
                waiting.append((index, crop, crop.picture(frame)))
            if len(waiting) == self.batch:
                flush()
        flush()
        if seen != count:
            raise ValueError(f"{seen} frames but {count} boxes")
        return Keypoints(points, scores, boxes, self.estimator)

    def people(self, frame: Frames, boxes: Floats) -> tuple[Floats, Floats]:
        """Everybody in one frame (H, W, 3): points (N, 133, 2) and scores (N, 133) for boxes (N, 4)."""
        crops = [crop_of_box(box, self.net.input_size) for box in boxes]
        points = np.zeros((len(crops), POINTS, 2), np.float32)
        scores = np.zeros((len(crops), POINTS), np.float32)
        at = [index for index, crop in enumerate(crops) if crop is not None]
        usable = [crop for crop in crops if crop is not None]
        if usable:
            points[at], scores[at] = self._run(usable, np.stack([crop.picture(frame) for crop in usable]))
        return points, scores

    def _run(self, crops: Sequence[Crop], pictures: Frames) -> tuple[Floats, Floats]:
        outputs = self.net(normalised(pictures), self.batch)
        simcc_x, simcc_y = outputs[self.x], outputs[self.y]
        bins = self._bins(simcc_x.shape, simcc_y.shape)
        if bins is None or not (np.isfinite(simcc_x).all() and np.isfinite(simcc_y).all()):
            raise WeightsError(self.net.path, NOT_FINITE)
        points, scores = decode(simcc_x, simcc_y, bins)
        return np.stack([crop.to_frame(p) for crop, p in zip(crops, points)]), scores
