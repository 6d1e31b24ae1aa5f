"""YuNet and MobileFaceNet, real nets for tests only, behind this stage's interfaces, and a table of what they find.

    python -m tests.stages.arcface.real_nets ../shared
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
from rich.console import Console
from rich.table import Table

from pipelines.clip import Floats, Frames
from pipelines.stages.arcface import track_face, unit_length
from pipelines.stages.arcface.estimator import FaceTrack
from pipelines.stages.arcface.faces import Faces
from pipelines.stages.people import PeopleFilter
from tests.stages.clips import read_clip

# Clips with one main person each, and the pieces (first frame, last frame, step) to look at.
PEOPLE = {
    "controlnext_01.mp4": (0, 130, 13),
    "dreampose_demo.mov": (0, 70, 7),
    "musepose_dance.mp4": (0, 150, 15),
}
MOST = 0.6


class YuNet:
    """Outputs per stride: class and object scores, boxes by exponent, points. BGR in 0 to 255. Source: OpenCV's own."""

    def __init__(self, path: Path) -> None:
        self.session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def detect(self, frame: Frames) -> Faces:
        height, width = frame.shape[:2]
        scale = min(1, 960 / max(height, width))
        small = cv2.resize(frame, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
        canvas = np.zeros((-(-small.shape[0] // 32) * 32, -(-small.shape[1] // 32) * 32, 3), np.float32)
        canvas[: small.shape[0], : small.shape[1]] = small[..., ::-1]
        names = [output.name for output in self.session.get_outputs()]
        out = dict(zip(names, self.session.run(None, {"input": canvas.transpose(2, 0, 1)[None]})))
        boxes, scores, points = [], [], []
        for stride in (8, 16, 32):
            rows, columns = np.mgrid[: canvas.shape[0] // stride, : canvas.shape[1] // stride]
            cell = np.stack([columns, rows], axis=-1).reshape(-1, 2)
            score = np.sqrt(out[f"cls_{stride}"][0, :, 0].clip(0, 1) * out[f"obj_{stride}"][0, :, 0].clip(0, 1))
            middle = (cell + out[f"bbox_{stride}"][0, :, :2]) * stride
            half = np.exp(out[f"bbox_{stride}"][0, :, 2:]) * stride / 2
            boxes.append(np.concatenate([middle - half, middle + half], axis=1))
            scores.append(score)
            points.append((out[f"kps_{stride}"][0].reshape(-1, 5, 2) + cell[:, None]) * stride)
        kept = np.concatenate(scores) > MOST
        box, score, point = (np.concatenate(rows)[kept] for rows in (boxes, scores, points))
        corners = np.concatenate([box[:, :2], box[:, 2:] - box[:, :2]], axis=1)
        keep = np.array(cv2.dnn.NMSBoxes(corners.tolist(), score.tolist(), MOST, 0.3), int).reshape(-1)
        return Faces(*(rows[keep].astype(np.float32) for rows in (box / scale, score, point / scale)))


class MobileFaceNet:
    """128 wide, one picture at a time; pictures normalised as ImageNet's. Source: foamliu/MobileFaceNet."""

    width = 128

    def __init__(self, path: Path) -> None:
        self.session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def embed(self, crops: Sequence[Frames]) -> Floats:
        mean, deviation = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
        inputs = [((crop / np.float32(255) - mean) / deviation).transpose(2, 0, 1)[None] for crop in crops]
        return np.concatenate([self.session.run(None, {"input0": picture})[0] for picture in inputs])


def nets(shared: Path) -> tuple[YuNet, MobileFaceNet]:
    folder = shared / "weights" / "test_only"
    return YuNet(folder / "yunet_n_dynamic.onnx"), MobileFaceNet(folder / "MobileFaceNet.onnx")


def tracks(shared: Path) -> dict[str, FaceTrack]:
    """The main person's face in each clip."""
    detector, recogniser = nets(shared)
    found = {}
    for name, (start, stop, step) in PEOPLE.items():
        frames, rate = read_clip(shared / "media" / name, stop, step)
        frames = frames[start // step :]
        people = PeopleFilter()(frames, rate)
        found[name] = track_face(detector, recogniser, frames, people.boxes)
    return found


def closeness(found: dict[str, FaceTrack]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Cosines between different frames of each clip, and between frames of different clips."""
    unit = {name: unit_length(track.embeddings[track.valid]) for name, track in found.items()}
    same = {name: (rows @ rows.T)[np.triu_indices(len(rows), 1)] for name, rows in unit.items()}
    names = list(unit)
    others = [(unit[a] @ unit[b].T).ravel() for i, a in enumerate(names) for b in names[:i]]
    return same, np.concatenate(others)


def main() -> None:
    found = tracks(Path(sys.argv[1]))
    same, others = closeness(found)
    table = Table(title="cosine between faces (YuNet, MobileFaceNet)")
    for column in ("clip", "frames", "faces", "size, px", "|yaw|", "lowest", "median", "to other clips, highest"):
        table.add_column(column, justify="left" if column == "clip" else "right")
    unit = {name: unit_length(track.embeddings[track.valid]) for name, track in found.items()}
    for name, track in found.items():
        elsewhere = max(float((unit[name] @ unit[other].T).max()) for other in unit if other != name)
        table.add_row(
            name, str(len(track.valid)), str(int(track.valid.sum())), f"{np.nanmedian(track.size):.0f}",
            f"{np.nanmedian(np.abs(track.yaw)):.0f}", f"{same[name].min():.2f}", f"{np.median(same[name]):.2f}",
            f"{elsewhere:.2f}",
        )  # fmt: skip
    Console(width=120).print(table)
    print(f"different people: median {np.median(others):.2f}, highest {others.max():.2f}")


if __name__ == "__main__":
    main()
