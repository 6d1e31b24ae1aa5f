"""The stream: one global sequence, whatever reads it; stopped and resumed anywhere."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.engine.atomic import digest
from tests.train.stream.small_shards import frame_of, key_of, members_of, small_dataset, write_dataset
from train.stream.batch import TrainBatch, collate
from train.stream.dataset import BadDataset
from train.stream.settings import ClipSettings, DataSettings, StreamSettings
from train.stream.stream import Stream, StreamChanged

GLOBAL_BATCH = 4


def read(settings: StreamSettings, world: int, start: int, steps: int) -> list[TrainBatch]:
    """What `steps` global batches of 4 hold, in the global order, each sample as a batch of its own."""
    by_position: dict[int, TrainBatch] = {}
    for rank in range(world):
        stream = Stream(settings, rank, world, GLOBAL_BATCH // world, start)
        for batch in islice(stream, steps):
            for place, position in enumerate(batch.index.tolist()):
                parts = {name: tensor[place : place + 1] for name, tensor in batch.tensors().items()}
                by_position[position] = replace(batch, keys=[batch.keys[place]], **parts)
        assert stream.state()["position"] == start + steps * GLOBAL_BATCH
    return [by_position[position] for position in sorted(by_position)]


def content(batch: TrainBatch) -> str:
    return digest([batch.keys, {name: tensor.numpy().tobytes().hex() for name, tensor in batch.tensors().items()}])


@pytest.mark.parametrize(("world", "workers"), [(2, 2), (4, 1)])
def test_ranks_and_workers_change_nothing(settings: StreamSettings, world: int, workers: int):
    alone = read(settings, 1, 0, 6)
    together = read(replace(settings, workers=workers), world, 0, 6)
    assert [content(batch) for batch in together] == [content(batch) for batch in alone]


def test_an_epoch_holds_each_key_once(settings: StreamSettings):
    keys = [key for batch in read(settings, 1, 0, 6) for key in batch.keys]
    assert Counter(keys[:12]) == {key_of(n): 1 for n in range(12)}
    assert Counter(keys[12:]) == {key_of(n): 1 for n in range(12)}
    assert keys[:12] != keys[12:]


def test_a_stream_goes_on_where_another_stopped_with_other_ranks(settings: StreamSettings):
    whole = [content(batch) for batch in read(settings, 1, 0, 5)]
    for stop in range(1, 5):
        first, then = read(settings, 2, 0, stop), read(settings, 4, stop * GLOBAL_BATCH, 5 - stop)
        assert [content(batch) for batch in first + then] == whole


def test_read_ahead_is_not_in_the_state(settings: StreamSettings):
    stream = Stream(replace(settings, workers=2, prefetch=4))
    next(iter(stream))
    assert stream.state()["position"] == 1


def test_the_trainers_own_random_numbers_are_not_touched(settings: StreamSettings):
    before = torch.get_rng_state()
    next(iter(Stream(settings)))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_batch_has_the_promised_shapes(settings: StreamSettings):
    batch = next(iter(Stream(settings, batch_size=2)))
    shapes = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in batch.tensors().items()}
    assert shapes == {
        "index": ((2,), torch.int64),
        "frames": ((2, 3, 3, 48, 32), torch.uint8),
        "reference": ((2, 3, 48, 32), torch.uint8),
        "skeleton": ((2, 3, 3, 48, 32), torch.uint8),
        "rendering": ((2, 3, 3, 48, 32), torch.uint8),
        "face_embedding": ((2, 512), torch.float32),
        "face_valid": ((2,), torch.bool),
        "fps": ((2,), torch.float32),
        "face_box": ((2, 3, 4), torch.float32),
        "hand_boxes": ((2, 3, 2, 4), torch.float32),
    }
    assert batch.latents is None
    assert len(batch) == 2


def test_frames_rendering_and_reference_are_of_the_drawn_frames(settings: StreamSettings):
    for batch in islice(Stream(settings), 12):
        assert batch.frames is not None
        frames = [frame_of(grey) for grey in batch.frames.float().mean(dim=(0, 2, 3, 4)).tolist()]
        assert frames == [frames[0], frames[0] + 1, frames[0] + 2]
        assert frames == [frame_of(grey) for grey in batch.rendering.float().mean(dim=(0, 2, 3, 4)).tolist()]
        # A frame with a face is preferred, and every third has one: the vector is that frame's.
        assert frame_of(float(batch.reference.float().mean())) % 3 == 0
        assert bool(batch.face_valid)
        assert batch.face_embedding.norm().item() == pytest.approx(1, abs=1e-5)


def test_all_spans_and_references_are_met(settings: StreamSettings):
    greys = [batch.reference.float().mean().item() for batch in islice(Stream(settings), 72)]
    assert {frame_of(grey) for grey in greys} == {0, 3, 6, 9, 12, 15, 18}


def test_weights_say_how_often_a_dataset_is_read(settings: StreamSettings, dataset: Path, tmp_path: Path):
    other = small_dataset(tmp_path / "other", (2,), first=100)
    mixed = replace(settings, data=(DataSettings(str(dataset), 1.0), DataSettings(str(other), 3.0)))
    stream = Stream(mixed)
    keys = [stream.samples.key(position) for position in range(4096)]
    assert sum(key in (key_of(100), key_of(101)) for key in keys) == 3072
    assert stream.epochs() == {str(dataset): 0.0, str(other): 0.0}
    stream.position = 4096
    assert stream.epochs() == {str(dataset): 1024 / 12, str(other): 3072 / 2}


def test_without_weights_each_clip_counts_the_same(settings: StreamSettings, dataset: Path, tmp_path: Path):
    other = small_dataset(tmp_path / "other", (4,), first=100)
    stream = Stream(replace(settings, data=(DataSettings(str(dataset)), DataSettings(str(other)))))
    assert stream.samples.order.choice.shares.tolist() == [3072, 1024]


def test_a_state_of_the_same_data_is_accepted_elsewhere(settings: StreamSettings, tmp_path: Path):
    state = json.loads(json.dumps(Stream(settings).state()))
    moved = small_dataset(tmp_path / "moved")
    Stream(replace(settings, data=(DataSettings(str(moved)),)), rank=1, world=2).check(state)


def test_a_state_survives_settings_that_leave_the_order_alone(settings: StreamSettings):
    state = Stream(settings).state()
    Stream(replace(settings, clip=replace(settings.clip, frames=20), workers=3)).check(state)


@pytest.mark.parametrize("change", ["data", "seed", "window", "length"])
def test_a_state_of_another_order_is_refused(settings: StreamSettings, tmp_path: Path, change: str):
    uneven = tmp_path / "uneven"
    if change == "length":  # with 3 frames all clips are long enough, with 8 only those of 20
        long, short = members_of(20, 0), members_of(5, 1)
        write_dataset(uneven, [[("a", long), ("b", short), ("c", long)]])
        settings = replace(settings, data=(DataSettings(str(uneven)),))
    state = Stream(settings).state()
    changed = {
        "data": {"data": (DataSettings(str(small_dataset(tmp_path / "other", (5, 3, 5)))),)},
        "seed": {"seed": 1},
        "window": {"window": 5},
        "length": {"clip": replace(settings.clip, frames=8), "data": (DataSettings(str(uneven)),)},
    }[change]
    stream = Stream(replace(settings, **changed))  # type: ignore[arg-type]
    with pytest.raises(StreamChanged, match=r"(dataset_hash|seed) was .*, is .*changed"):
        stream.check(state)


def test_a_batch_of_unlike_samples_is_refused(settings: StreamSettings):
    first, second = islice(Stream(settings), 2)
    with pytest.raises(ValueError, match=r"differ in their fields: \['frames'\]"):
        collate([first, replace(second, frames=None)])


def test_no_dataset_and_a_dataset_twice_are_errors(settings: StreamSettings):
    with pytest.raises(BadDataset, match="no dataset was given"):
        Stream(replace(settings, data=()))
    with pytest.raises(BadDataset, match="given twice"):
        Stream(replace(settings, data=settings.data * 2))


def test_weights_for_some_only_are_an_error(settings: StreamSettings, dataset: Path, tmp_path: Path):
    other = small_dataset(tmp_path / "other", (2,), first=100)
    with pytest.raises(BadDataset, match="every dataset a weight"):
        Stream(replace(settings, data=(DataSettings(str(dataset), 1.0), DataSettings(str(other)))))


def test_a_skeleton_is_drawn_at_the_size_of_training(settings: StreamSettings):
    large = replace(settings, clip=ClipSettings(frames=2, size=(128, 192)))
    batch = next(iter(Stream(large)))
    assert batch.skeleton.shape[-2:] == (192, 128)
    ys, xs = np.nonzero(batch.skeleton[0, 0].amax(0).numpy())
    assert 0.15 * 192 < ys.min() < ys.max() < 0.85 * 192
    assert 0.15 * 128 < xs.min() < xs.max() < 0.85 * 128
