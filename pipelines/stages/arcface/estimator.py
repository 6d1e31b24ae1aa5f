"""Identity vectors: the tracked person's face in every frame, or the face of a reference picture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.clip import Floats, Frames, Keypoints
from pipelines.engine.atomic import file_digest
from pipelines.shard_format import FACE_WIDTH, Face
from pipelines.stages.blazepose.chunks import FrameChunks, each_frame
from pipelines.stages.dwpose.providers import Device
from pipelines.weights_error import WeightsError

from .alignment import aligned
from .belonging import NO_FACE, whose_face
from .faces import Detector, Faces, Recogniser
from .yaw import yaw
from .zoo import ArcFaceNet, Scrfd

# Bump when the output changes.
VERSION = "1"
# Faces at once for the recogniser.
BATCH = 16


class NoFaceThere(ValueError):
    """A reference picture without a face that could be used. `reason` is the key for reports."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the picture shows no face to take an identity from ({reason})")
        self.reason = reason


@dataclass(frozen=True)
class FaceTrack:
    """The main person's face in each of T frames; NaN (scores and embeddings: 0) where there is none.

    embeddings: float32 (T, width), raw. valid: bool (T,). scores: float32 (T,), the detector's. boxes: float32 (T, 4),
    x0 y0 x1 y1 pixels. points: float32 (T, 5, 2). yaw: float32 (T,), degrees, see `yaw`. size: float32 (T,), the root
    of the box's area, pixels. reasons: why a frame has no face, "" where it has one: "nobody" (no box), "no_face" (none
    found), "head_unseen" (the key points do not show the head) or "other_person" (only other people's faces).
    """

    embeddings: Floats
    valid: NDArray[np.bool_]
    scores: Floats
    boxes: Floats
    points: Floats
    yaw: Floats
    size: Floats
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Identity:
    """The face of one picture. embedding: float32 (512,), raw; `unit` is the same with length 1. Else as in FaceTrack.
    """

    embedding: Floats
    score: float
    box: Floats
    points: Floats
    yaw: float
    size: float

    @property
    def unit(self) -> Floats:
        return unit_length(self.embedding)


def unit_length(embeddings: NDArray[np.floating]) -> Floats:
    """Embeddings (..., width) with length 1; those of length 0 stay."""
    length = np.linalg.norm(embeddings.astype(np.float32), axis=-1, keepdims=True)
    return (embeddings / np.where(length > 0, length, 1)).astype(np.float32)


def normalised(face: Face) -> Face:
    """A sample's face with embeddings of length 1, which it then says; unchanged if it was so already."""
    if face.normalised:
        return face
    return replace(face, embeddings=unit_length(face.embeddings).astype(np.float16), normalised=True)


def track_face(
    detector: Detector, recogniser: Recogniser, frames: FrameChunks, boxes: Floats, keypoints: Keypoints | None = None
) -> FaceTrack:
    """The person's face through a clip, by any detector and any recogniser, of whatever width.

    frames: uint8 (T, H, W, 3) RGB, or an iterable of chunks of them, read once. boxes: float (T, 4), x0 y0 x1 y1
    pixels, the person, NaN where nobody is. Raises ValueError when frames, boxes and key points are not equally many.
    """
    boxes = np.asarray(boxes, np.float32)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes: expected (T, 4), got {boxes.shape}")
    count = len(boxes)
    if keypoints is not None and len(keypoints) != count:
        raise ValueError(f"{len(keypoints)} frames of key points but {count} boxes")
    embeddings = np.zeros((count, recogniser.width), np.float32)
    scores, size, turn = np.zeros(count, np.float32), *np.full((2, count), np.nan, np.float32)
    at, points = np.full((count, 4), np.nan, np.float32), np.full((count, 5, 2), np.nan, np.float32)
    reasons = [""] * count
    waiting: list[tuple[int, Frames]] = []
    for index, frame in _numbered(frames, count):
        person = (boxes[index], *((keypoints.points[index], keypoints.scores[index]) if keypoints else (None, None)))
        # Detection is most of the work: not done where nobody is.
        faces = detector.detect(frame) if np.isfinite(boxes[index]).all() else _none()
        chosen = whose_face(faces, *person)
        if isinstance(chosen, str):
            reasons[index] = chosen
            continue
        scores[index], at[index], points[index] = faces.scores[chosen], faces.boxes[chosen], faces.points[chosen]
        size[index], turn[index] = faces.sizes[chosen], yaw(faces.points[chosen])
        waiting.append((index, aligned(frame, faces.points[chosen])))
        if len(waiting) == BATCH:
            _embed(recogniser, waiting, embeddings)
            waiting = []
    if waiting:
        _embed(recogniser, waiting, embeddings)
    valid = np.array([reason == "" for reason in reasons], bool)
    return FaceTrack(embeddings, valid, scores, at, points, turn, size, tuple(reasons))


def _embed(recogniser: Recogniser, waiting: list[tuple[int, Frames]], embeddings: Floats) -> None:
    embeddings[[index for index, _ in waiting]] = recogniser.embed([crop for _, crop in waiting])


def _none() -> Faces:
    return Faces(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))


def _numbered(frames: FrameChunks, count: int) -> Iterable[tuple[int, Frames]]:
    seen = 0
    for frame in each_frame(frames):
        if seen == count:
            raise ValueError(f"more frames than the {count} boxes")
        yield seen, frame
        seen += 1
    if seen != count:
        raise ValueError(f"{seen} frames but {count} boxes")


class ArcFace:
    """SCRFD and ArcFace from local files (see `find_pack`), for clips and for reference pictures.

    device: "auto", "cuda", "tensorrt" or "cpu". Samples hold raw embeddings (what the recogniser says, of length about
    20; StableAnimator feeds these), from which `normalised` makes the unit ones (which IP-Adapter FaceID feeds).

    Raises WeightsError for files that are missing, damaged or of another kind, and for a recogniser whose embeddings
    are not 512 wide, which the sample format is made for; ProviderError for the device.
    """

    def __init__(self, detector: Path, recogniser: Path, device: Device = "auto") -> None:
        self.detector = Scrfd(detector, device)
        self.recogniser = ArcFaceNet(recogniser, device)
        if self.recogniser.width != FACE_WIDTH:
            raise WeightsError(
                Path(recogniser),
                f"its embeddings are {self.recogniser.width} wide, samples hold {FACE_WIDTH}: take a recogniser "
                "such as glintr100.onnx or w600k_r50.onnx",
            )
        self.model = Path(recogniser).stem
        self.model_hash = file_digest(Path(recogniser))

    def __call__(
        self, frames: FrameChunks, boxes: Floats, keypoints: Keypoints | None = None
    ) -> tuple[Face, FaceTrack]:
        """The faces of a clip's main person as a sample holds them (raw embeddings), and everything that was measured.

        Arguments and errors: see `track_face`.
        """
        track = track_face(self.detector, self.recogniser, frames, boxes, keypoints)
        raw = track.embeddings.astype(np.float16)
        return Face(raw, track.valid, track.scores, self.model, self.model_hash, normalised=False), track

    def embed_image(self, rgb: Frames, box: Floats | None = None) -> Identity:
        """The face in a picture (H, W, 3), uint8 RGB: the person's in `box` (4,), or the largest of all without one.

        Raises NoFaceThere where there is none.
        """
        [rgb] = each_frame(rgb[None])
        faces = self.detector.detect(rgb)
        if box is not None:
            chosen = whose_face(faces, np.asarray(box, np.float32))
        else:
            chosen = int(np.argmax(faces.sizes)) if len(faces) else NO_FACE
        if isinstance(chosen, str):
            raise NoFaceThere(chosen)
        points = faces.points[chosen]
        return Identity(
            embedding=self.recogniser.embed([aligned(rgb, points)])[0],
            score=float(faces.scores[chosen]),
            box=faces.boxes[chosen],
            points=points,
            yaw=float(yaw(points)),
            size=float(faces.sizes[chosen]),
        )
