"""A sample that cannot be read is replaced by the same one everywhere, counted and named; it never shifts others."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from pipelines import shard_format as fmt
from tests.train.stream.small_shards import FPS, face_of, key_of, keypoints_of, members_of, small_dataset, write_dataset
from train.stream.batch import TrainBatch
from train.stream.settings import DataSettings, StreamSettings
from train.stream.stream import Stream, StreamBroken


def with_damage(out: Path, damage: Callable[[dict[str, bytes]], dict[str, bytes]], bad: tuple[int, ...] = (3,)) -> Path:
    """A dataset of 8 clips in two shards; `damage` is done to some of them."""
    good = members_of(20, 0)
    samples = [(key_of(n), damage(dict(good)) if n in bad else good) for n in range(8)]
    return write_dataset(out, [samples[:4], samples[4:]])


DAMAGES: dict[str, Callable[[dict[str, bytes]], dict[str, bytes]]] = {
    "video of zeros": lambda m: {**m, "video.mp4": bytes(2000)},
    "video cut off": lambda m: {**m, "video.mp4": m["video.mp4"][: len(m["video.mp4"]) // 2]},
    "video with noise inside": lambda m: {**m, "video.mp4": m["video.mp4"][:1000] + bytes(len(m["video.mp4"]) - 1000)},
    "shorter rendering": lambda m: {**m, "render.mp4": members_of(12, 0)["render.mp4"]},
    "rendering of another size": lambda m: {**m, "render.mp4": members_of(20, 0, (48, 32))["render.mp4"]},
    "no npz": lambda m: {**m, "pose.npz": b"PK"},
    "fewer poses": lambda m: {**m, "pose.npz": fmt.encode_keypoints(keypoints_of(7, (32, 48)))},
    "fewer faces": lambda m: {**m, "face.npz": fmt.encode_face(face_of(7, 0))},
    "empty members": lambda m: {name: b"" if name != "json" else data for name, data in m.items()},
}


def stream_of(out: Path, settings: StreamSettings) -> Stream:
    return Stream(replace(settings, data=(DataSettings(str(out)),)))


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_a_damaged_sample_is_replaced_and_named(tmp_path: Path, settings: StreamSettings, damage: str):
    stream = stream_of(with_damage(tmp_path / "d", DAMAGES[damage]), settings)
    wanted = [stream.samples.key(position) for position in range(8)]
    batches = list(islice(stream, 8))
    place = wanted.index(key_of(3))
    for position, batch in enumerate(batches):
        assert batch.index.tolist() == [position]
        if position != place:
            assert (batch.keys, batch.replaced) == ([wanted[position]], ())
    (replaced,) = batches[place].replaced
    assert (replaced.wanted, replaced.taken) == (key_of(3), wanted[(place + 1) % 8])
    assert key_of(3) in replaced.reason


def test_the_replacement_is_the_same_for_other_ranks_and_workers(tmp_path: Path, settings: StreamSettings):
    out = with_damage(tmp_path / "d", DAMAGES["no npz"], (1, 2, 6))
    alone = list(islice(stream_of(out, settings), 8))
    forked = replace(settings, workers=2, data=(DataSettings(str(out)),))
    pairs = [list(islice(Stream(forked, rank, 2), 4)) for rank in range(2)]
    together: list[TrainBatch] = [pairs[position % 2][position // 2] for position in range(8)]
    assert [batch.keys for batch in alone] == [batch.keys for batch in together]
    assert [batch.replaced for batch in alone] == [batch.replaced for batch in together]
    assert all(torch.equal(a.reference, b.reference) for a, b in zip(alone, together))


def test_when_nothing_can_be_read_the_stream_ends_with_the_first_reason(tmp_path: Path, settings: StreamSettings):
    out = with_damage(tmp_path / "d", DAMAGES["no npz"], tuple(range(8)))
    with pytest.raises(StreamBroken, match=r"8 samples in a row cannot be read.*pose\.npz is not a plain npz"):
        next(iter(stream_of(out, settings)))


def test_a_shard_that_shrinks_during_the_run_is_noticed(tmp_path: Path, settings: StreamSettings):
    out = small_dataset(tmp_path / "d", (4,))
    stream = stream_of(out, settings)
    batches = iter(stream)
    next(batches)
    os.truncate(out / "shards" / "vividpose-000000.tar", 2000)
    with pytest.raises(StreamBroken, match="was cut off"):
        list(islice(batches, 4))


def test_a_shard_that_vanishes_during_the_run_is_an_error_with_its_name(tmp_path: Path, settings: StreamSettings):
    out = small_dataset(tmp_path / "d", (4,))
    stream = stream_of(out, settings)
    (out / "shards" / "vividpose-000000.tar").unlink()
    with pytest.raises(FileNotFoundError, match=r"vividpose-000000\.tar"):
        next(iter(stream))


def test_a_face_vector_of_zeros_or_nan_is_no_face(tmp_path: Path, settings: StreamSettings):
    def spoil(members: dict[str, bytes]) -> dict[str, bytes]:
        face = face_of(20, 0)
        vectors = face.embeddings.copy()
        vectors[::6], vectors[3::6] = 0, float("nan")
        return {**members, "face.npz": fmt.encode_face(replace(face, embeddings=vectors))}

    for batch in islice(stream_of(with_damage(tmp_path / "d", spoil, tuple(range(8))), settings), 8):
        assert not bool(batch.face_valid)
        assert not batch.face_embedding.any()


def test_frames_a_second_come_from_the_clip(tmp_path: Path, settings: StreamSettings):
    batch = next(iter(stream_of(small_dataset(tmp_path / "d", (1,)), settings)))
    assert batch.fps.item() == float(FPS)
