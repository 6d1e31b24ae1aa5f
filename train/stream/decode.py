"""From the members of a sample to the tensors of a batch of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

import av.error
import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.body.skeleton import draw_skeleton
from pipelines.clip import Frames, Keypoints
from pipelines.shard_format import BadSample, Face, decode_face, decode_keypoints
from pipelines.video.crop import crop_to, into_planes
from pipelines.video.reader import ClipReader
from train.stream.batch import TrainBatch
from train.stream.clip_choice import ClipChoice, choose_clip
from train.stream.latents import SampleLatents
from train.stream.picture import VISIBLE, mirrored, mirrored_points, part_boxes
from train.stream.settings import ClipSettings

MEMBERS = ("face.npz", "pose.npz", "render.mp4", "video.mp4")
"""What is read of a sample."""
NOSE_AND_EYES = (0, 1, 2)


def decode_clip(
    key: str,
    members: Mapping[str, bytes],
    length: int,
    fps: Fraction,
    settings: ClipSettings,
    rng: np.random.Generator,
    index: int,
    latents: Callable[[ClipChoice], SampleLatents] | None = None,
) -> TrainBatch:
    """A batch of one. length, fps: of the clip, from the index. index: the sample's global number.

    latents: reads the cached latents of a choice; the frames are then not decoded, only the reference.
    Raises `BadSample` when a member cannot be read or contradicts the index.
    """
    keypoints = decode_keypoints(members["pose.npz"], f"sample {key}: pose.npz")
    face = decode_face(members["face.npz"], f"sample {key}: face.npz")
    if len(keypoints) != length or len(face.valid) != length:
        raise BadSample(f"sample {key}: {len(keypoints)} poses and {len(face.valid)} faces for {length} frames")
    choice = choose_clip(settings, rng, length, fps, face_seen(face, keypoints))
    cached = latents(choice) if latents is not None else None
    wanted = [choice.reference] if cached is not None else [*choice.frames, choice.reference]
    frames = _decode(key, "video.mp4", members, length, wanted)
    maps = _decode(key, "render.mp4", members, length, choice.frames)
    if maps.shape[1:] != frames.shape[1:]:
        raise BadSample(f"sample {key}: frames are {frames.shape[2:0:-1]}, the rendering is {maps.shape[2:0:-1]}")
    crop = crop_to((frames.shape[2], frames.shape[1]), settings.size, choice.crop_at)
    chosen = list(choice.frames)
    points, scores = crop.points(keypoints.points[chosen]), keypoints.scores[chosen]
    pictures, rendering = crop.pictures(frames), crop.pictures(maps)
    if choice.flip:
        pictures, rendering = mirrored(pictures), mirrored(rendering)
        points, scores = mirrored_points(points, scores, settings.size[0])
    face_box, hand_boxes = part_boxes(points, scores, settings.size)
    embedding, valid = _identity(face, choice.reference)
    return TrainBatch(
        keys=[key],
        index=torch.tensor([index]),
        frames=torch.from_numpy(pictures[None, :-1]) if cached is None else None,
        reference=torch.from_numpy(pictures[-1:]),
        skeleton=_skeletons(points, scores, settings)[None],
        rendering=torch.from_numpy(rendering)[None],
        face_embedding=torch.from_numpy(embedding)[None],
        face_valid=torch.tensor([valid]),
        fps=torch.tensor([choice.fps], dtype=torch.float32),
        face_box=torch.from_numpy(face_box)[None],
        hand_boxes=torch.from_numpy(hand_boxes)[None],
        latents=None if cached is None else _copied(cached.moments),
        reference_latents=None if cached is None else _copied(cached.reference),
        clip_embedding=None if cached is None else _copied(cached.embedding),
    )


def _copied(values: NDArray[np.float16]) -> torch.Tensor:
    """(1, ...): what was read is immutable, a tensor is not."""
    return torch.from_numpy(values[None].copy())


def face_seen(face: Face, keypoints: Keypoints) -> NDArray[np.bool_]:
    """bool (T,): whether the face can be recognised; by its key points where there was no recogniser."""
    if face.model != "none":
        return face.valid
    return np.asarray((keypoints.scores[:, NOSE_AND_EYES] > VISIBLE).all(axis=1), bool)


def _decode(key: str, name: str, members: Mapping[str, bytes], length: int, indices: Sequence[int]) -> Frames:
    try:
        with ClipReader(members[name]) as reader:
            if len(reader) != length:
                raise BadSample(f"sample {key}: {name} has {len(reader)} frames, not {length}")
            return reader.frames(indices)
    except (ValueError, av.error.FFmpegError) as error:
        if isinstance(error, BadSample):
            raise
        raise BadSample(f"sample {key}: {name}: {error}") from error


def _skeletons(points: NDArray[np.float32], scores: NDArray[np.float32], settings: ClipSettings) -> torch.Tensor:
    width, height = settings.size
    maps = np.empty((len(points), 3, height, width), np.uint8)
    for planes, xy, seen in zip(maps, points, scores):
        into_planes(draw_skeleton(xy, seen, settings.size, settings.skeleton), planes)
    return torch.from_numpy(maps)


def _identity(face: Face, frame: int) -> tuple[NDArray[np.float32], bool]:
    vector = face.embeddings[frame].astype(np.float32)
    length = float(np.linalg.norm(vector))
    if not face.valid[frame] or not np.isfinite(length) or length == 0:
        return np.zeros_like(vector), False
    return vector / length, True
