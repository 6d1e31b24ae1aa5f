"""Films to what the networks see, once, through the trainer's own stream; then in memory, the same for all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.image_encoder import ImageEncoder
from pipelines.engine.atomic import whole_file
from train.ablation.settings import ClipSettings
from train.encoders import signed
from train.stream.batch import TrainBatch, collate
from train.stream.clip_choice import choose_clip
from train.stream.rng import named_permutation, sample_rng
from train.stream.settings import ClipSettings as StreamClips
from train.stream.settings import DataSettings, StreamSettings
from train.stream.stream import Stream

REGIONS = {"background": 0, "body": 1, "face": 2, "hands": 3, "torso edge": 4}
"""The values of `truth/regions/*.npz`."""


class BadTruth(RuntimeError):
    """The truth does not belong to the shards."""


@dataclass(frozen=True)
class ClipSet:
    """All windows of a split. batch: with `clip_embedding`, on the host. films, people, openings: a name each.
    regions: uint8 (N, T, H, W), see REGIONS; None where they were not asked for."""

    batch: TrainBatch
    films: tuple[str, ...]
    people: tuple[str, ...]
    openings: tuple[str, ...]
    regions: Tensor | None

    def __len__(self) -> int:
        return len(self.films)

    def take(self, numbers: Sequence[int]) -> TrainBatch:
        """The windows of these numbers as a batch."""
        chosen = torch.tensor(numbers)
        tensors: dict[str, Any] = {name: tensor[chosen] for name, tensor in self.batch.tensors().items()}
        return replace(self.batch, keys=[self.batch.keys[number] for number in numbers], **tensors)


def training_batch(clips: ClipSet, seed: int, step: int, size: int) -> TrainBatch:
    """The batch of a step: a pure function of the seed, which every variant shares. `index` is the global number of
    each sample, which its noise follows from."""
    numbers = range(step * size, (step + 1) * size)
    count = len(clips)
    places = [int(_order(count, seed, number // count)[number % count]) for number in numbers]
    return replace(clips.take(places), index=torch.tensor(list(numbers)))


_held: dict[tuple[int, int, int], NDArray[np.int64]] = {}


def _order(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    key = (count, seed, epoch)
    if key not in _held:
        if len(_held) > 8:
            _held.clear()
        _held[key] = named_permutation(count, "ablation", seed, epoch)
    return _held[key]


def read_clips(
    data: Path, truth: Path, settings: ClipSettings, windows: int, image: ImageEncoder, regions: bool
) -> ClipSet:
    """Every clip of `data`, an output folder of `vividpose shards`, in `windows` windows each. truth: the folder of
    `vividpose groundtruth`.

    Raises what the stream raises, and `BadTruth` for a clip that the truth does not know.
    """
    clip = StreamClips(
        frames=settings.frames, size=(settings.whole, settings.whole), strides=(settings.stride,), reference="first"
    )
    told = StreamSettings((DataSettings(str(data)),), seed=settings.seed, clip=clip, latents="never", workers=0)
    samples = Stream(told).samples
    known = known_films(truth)
    batches, films, shown = [], [], []
    for position in range(windows * samples.order.epochs[0].total):
        batch = samples[position]
        if batch.replaced:
            raise BadTruth(f"{data}: {batch.replaced[0].reason}")
        film = known.get(batch.keys[0].split("_")[0])
        if film is None:
            raise BadTruth(
                f"{data}: sample {batch.keys[0]} is no film of {truth}; make the shards again from its videos"
            )
        left, top = place_of_cut(batch, settings.size)
        batch = cut_out(batch, left, top, settings.size)
        embedding = image.embed(signed(batch.reference))[:, 0].half()
        batches.append(replace(batch, clip_embedding=embedding))
        films.append(film)
        if regions:
            place = samples.order.at(position)
            index, number = samples.datasets[0].find(place.shard, place.ordinal)
            rng = sample_rng(told.seed, position, "clip")
            length, fps = index.frames[number], Fraction(*index.fps[number])
            choice = choose_clip(clip, rng, length, fps, np.ones(length, bool))
            first = int(batch.keys[0].split("_")[1])
            region = regions_of(truth, film, [first + frame for frame in choice.frames], settings.whole)
            shown.append(region[:, top : top + settings.size, left : left + settings.size])
    return ClipSet(
        collate(batches),
        tuple(film["name"] for film in films),
        tuple(film["person"] for film in films),
        tuple(film["opening"] for film in films),
        torch.from_numpy(np.stack(shown)) if regions else None,
    )


HEAD_AT, HEAD = 0.1, 0.2
"""How far below the top of the cut the head begins, and how much below that is looked at for where it is across; in
sides of the cut."""


def place_of_cut(batch: TrainBatch, size: int) -> tuple[int, int]:
    """(left, top) of the square that a batch of one is cut to: the rendered body's head, the median of the frames, in
    its upper middle, inside the picture. Where nothing was rendered: the middle of the picture."""
    height, width = batch.reference.shape[-2:]
    places = []
    for body in (batch.rendering[0] > 0).any(dim=1):
        rows = body.any(dim=1).nonzero()
        if len(rows):
            top = int(rows[0])
            columns = body[top : top + round(HEAD * size)].nonzero()[:, 1]
            places.append((float(columns.float().mean()), float(top)))
    if places:
        x, y = np.median(np.array(places), axis=0).tolist()
        left, top = round(x - size / 2), round(y - HEAD_AT * size)
    else:
        left, top = (width - size) // 2, (height - size) // 2
    return min(max(left, 0), width - size), min(max(top, 0), height - size)


def cut_out(batch: TrainBatch, left: int, top: int, size: int) -> TrainBatch:
    """The same square of all pictures; boxes move with it, and are zero where nothing of them is left."""
    square = (..., slice(top, top + size), slice(left, left + size))
    pictures: dict[str, Any] = {
        name: tensor[square].contiguous()
        for name, tensor in batch.tensors().items()
        if name in ("frames", "reference", "skeleton", "rendering")
    }
    for name in ("face_box", "hand_boxes"):
        boxes = getattr(batch, name)
        moved = (boxes - torch.tensor([left, top, left, top])).clamp(0, size)
        there = (moved[..., 2:] > moved[..., :2]).all(dim=-1, keepdim=True) & (boxes != 0).any(dim=-1, keepdim=True)
        pictures[name] = torch.where(there, moved, 0.0)
    return replace(batch, **pictures)


def known_films(truth: Path) -> dict[str, dict[str, Any]]:
    """The films of a benchmark, by the first 16 hex digits of their sha256, as the keys of samples begin."""
    path = truth / "truth" / "clips.json"
    try:
        films = json.loads(path.read_text(encoding="utf-8"))["clips"]
        return {film["sha256"][:16]: film for film in films}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadTruth(
            f"{path} is not the truth of a benchmark ({error!r}): run `vividpose groundtruth make`"
        ) from error


def regions_of(truth: Path, film: dict[str, Any], frames: Sequence[int], size: int) -> NDArray[np.uint8]:
    """What the pixels of these frames show, at `size` pixels square: uint8 (T, size, size)."""
    path = truth / "truth" / "regions" / f"{film['name']}.npz"
    try:
        with np.load(path, allow_pickle=False) as file:
            whole = file["regions"][list(frames)]
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise BadTruth(
            f"{path}: expected `regions` (T, H, W) of at least {max(frames) + 1} frames: {error!r}"
        ) from error
    return np.stack([cv2.resize(one, (size, size), interpolation=cv2.INTER_NEAREST) for one in whole])


def save_clips(path: Path, clips: ClipSet) -> None:
    """One safetensors file, whole or absent."""
    tensors = {name: tensor.contiguous() for name, tensor in clips.batch.tensors().items()}
    if clips.regions is not None:
        tensors["regions"] = clips.regions
    told = {"keys": clips.batch.keys, "films": clips.films, "people": clips.people, "openings": clips.openings}
    with whole_file(path) as temporary:
        save_file(tensors, temporary, metadata={name: json.dumps(value) for name, value in told.items()})


def load_clips(path: Path) -> ClipSet:
    """What `save_clips` wrote."""
    with safe_open(path, framework="pt") as file:
        told = {name: json.loads(value) for name, value in file.metadata().items()}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    regions = tensors.pop("regions", None)
    names = [tuple(told[name]) for name in ("films", "people", "openings")]
    return ClipSet(TrainBatch(keys=told["keys"], **tensors), names[0], names[1], names[2], regions)
