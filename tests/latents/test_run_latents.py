"""`vividpose latents` and the stream that takes what it made."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from model.encoders import TINY, load_encoders
from pipelines.latents.run import BadRequest, run_latents
from pipelines.latents.settings import LatentsSettings
from pipelines.latents_format import encoders_digest
from tests.train.stream.small_shards import key_of, members_of, small_dataset, write_dataset
from train.stream.dataset import BadDataset
from train.stream.settings import ClipSettings, DataSettings, StreamSettings
from train.stream.stream import Stream

SIZE = (16, 24)
ENCODE = LatentsSettings("tiny", SIZE, executor="inline", device="cpu")


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four clips of 12 frames in two shards, with latents. Not to be changed."""
    out = small_dataset(tmp_path_factory.mktemp("latents") / "data", (3, 1), 12)
    run_latents(out, ENCODE)
    return out


@pytest.fixture
def mine(encoded: Path, tmp_path: Path) -> Path:
    """A copy to be changed."""
    return Path(shutil.copytree(encoded, tmp_path / "data"))


def settings_of(out: Path, **changes: object) -> StreamSettings:
    settings = StreamSettings(
        data=(DataSettings(str(out)),), window=4, workers=0, clip=ClipSettings(frames=3, size=SIZE)
    )
    return replace(settings, **changes)  # type: ignore[arg-type]


def stream_of(out: Path, **changes: object) -> Stream:
    return Stream(settings_of(out, **changes), encoders=encoders_digest(TINY))


def latents_file(out: Path, shard: int = 0) -> Path:
    (path,) = out.glob(f"latents/*/vividpose-{shard:06d}.safetensors")
    return path


def test_cached_numbers_are_those_of_the_pictures_that_the_stream_decodes(encoded: Path):
    encoders = load_encoders(TINY)
    cached = stream_of(encoded)
    plain = stream_of(encoded, latents="never")
    assert cached.latents_used
    assert not plain.latents_used
    for with_latents, with_frames in zip(islice(cached, 4), islice(plain, 4)):
        assert with_latents.frames is None
        assert with_frames.frames is not None
        assert with_latents.latents is not None
        assert with_latents.reference_latents is not None
        assert with_latents.clip_embedding is not None
        assert with_latents.keys == with_frames.keys
        for name in ("reference", "skeleton", "rendering", "face_embedding", "fps", "index"):
            assert torch.equal(getattr(with_latents, name), getattr(with_frames, name))
        moments = encoders.vae.encode(with_frames.frames[0].float() / 127.5 - 1)
        mean, log_variance = with_latents.latents[0].float().chunk(2, dim=1)
        torch.testing.assert_close(mean, moments.mean, atol=2e-3, rtol=2e-3)
        torch.testing.assert_close((log_variance / 2).exp(), moments.std, atol=1e-6, rtol=2e-2)
        picture = with_frames.reference.float() / 127.5 - 1
        of_reference = with_latents.reference_latents[0].float().chunk(2)[0]
        torch.testing.assert_close(of_reference, encoders.vae.encode(picture).mean[0], atol=2e-3, rtol=2e-3)
        embedding = encoders.image.embed(picture)[0]
        torch.testing.assert_close(with_latents.clip_embedding.float(), embedding, atol=2e-3, rtol=2e-3)


def test_ranks_and_workers_change_nothing(encoded: Path):
    alone = [batch.latents for batch in islice(stream_of(encoded), 4)]
    working = settings_of(encoded, workers=1)
    digest = encoders_digest(TINY)
    ranks = [[b.latents for b in islice(Stream(working, rank, 2, encoders=digest), 2)] for rank in range(2)]
    assert all(torch.equal(a, ranks[p % 2][p // 2]) for p, a in enumerate(alone))  # type: ignore[arg-type]


def test_strides_read_the_frames_they_should(encoded: Path):
    clip = ClipSettings(frames=3, size=SIZE, strides=(3,))
    encoders = load_encoders(TINY)
    for cached, plain in zip(
        islice(stream_of(encoded, clip=clip), 2), islice(stream_of(encoded, clip=clip, latents="never"), 2)
    ):
        assert plain.frames is not None
        assert cached.latents is not None
        mean = encoders.vae.encode(plain.frames[0].float() / 127.5 - 1).mean
        torch.testing.assert_close(cached.latents[0].float().chunk(2, dim=1)[0], mean, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize(
    ("clip", "told"),
    [
        (ClipSettings(frames=3, size=(24, 24)), "no latents of these encoders at 24x24: run `vividpose latents`"),
        (ClipSettings(frames=3, size=SIZE, crop="random"), "of the centre crop"),
        (ClipSettings(frames=3, size=SIZE, flip=True), "not mirrored"),
    ],
)
def test_latents_of_another_crop_are_not_used(encoded: Path, clip: ClipSettings, told: str):
    stream = stream_of(encoded, clip=clip)
    assert not stream.latents_used
    assert told in stream.latents_reason
    assert next(iter(stream)).frames is not None
    with pytest.raises(BadDataset, match="latents are required, but"):
        stream_of(encoded, clip=clip, latents="require")


def test_latents_of_other_encoders_are_not_used(encoded: Path):
    stream = Stream(settings_of(encoded), encoders="0" * 64)
    assert "no latents of these encoders" in stream.latents_reason
    assert "did not say" in Stream(settings_of(encoded)).latents_reason


@pytest.mark.parametrize("damage", ["missing", "cut off", "of another shard"])
def test_latents_that_are_not_whole_are_not_used_and_made_again(mine: Path, damage: str):
    path = latents_file(mine)
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "cut off":
        path.write_bytes(whole[:-10])
    else:
        listing = path.parent / "latents.json"
        raw = json.loads(listing.read_text())
        raw["shards"]["vividpose-000000.tar"]["shard"] = "0" * 64
        listing.write_text(json.dumps(raw))
    assert "1 of 2 shards of" in stream_of(mine).latents_reason
    done = run_latents(mine, ENCODE)
    assert done.done == 2
    assert path.read_bytes() == whole
    assert stream_of(mine).latents_used


def test_a_second_run_encodes_nothing(mine: Path):
    done = run_latents(mine, ENCODE)
    assert (done.done, done.shards, done.frames) == (2, 2, 0)


def test_latents_of_shards_that_are_no_more_are_removed(mine: Path):
    stale = latents_file(mine).with_name("vividpose-000099.safetensors")
    stale.write_bytes(b"someone who was withdrawn")
    run_latents(mine, ENCODE)
    assert not stale.exists()


def test_a_clip_that_cannot_be_decoded_is_noted_and_replaced_in_the_stream(tmp_path: Path):
    good = members_of(12, 0)
    bad = {**good, "video.mp4": good["video.mp4"][:600] + bytes(len(good["video.mp4"]) - 600)}
    out = write_dataset(tmp_path / "d", [[(key_of(0), good), (key_of(1), bad), (key_of(2), good)]])
    done = run_latents(out, ENCODE)
    assert len(done.notes) == 1
    assert done.notes[0].startswith(key_of(1))
    batches = list(islice(stream_of(out), 3))
    assert [r.wanted for batch in batches for r in batch.replaced] == [key_of(1)]
    assert all(batch.latents is not None and batch.latents.isfinite().all() for batch in batches)


def test_what_cannot_be_done_is_one_sentence(mine: Path, tmp_path: Path):
    with pytest.raises(BadRequest, match=r"--model nowhere: there are no safetensors in nowhere/vae"):
        run_latents(mine, replace(ENCODE, model="nowhere"))
    with pytest.raises(BadRequest, match=r"has no dataset\.json"):
        run_latents(tmp_path / "empty", ENCODE)
    (mine / "shards" / "vividpose-000001.tar").unlink()
    with pytest.raises(BadRequest, match=r"vividpose-000001\.tar is missing"):
        run_latents(mine, ENCODE)


@pytest.mark.slow
def test_ray_makes_the_same_bytes(mine: Path, encoded: Path):
    shutil.rmtree(mine / "latents")
    shutil.rmtree(mine / "work")
    run_latents(mine, replace(ENCODE, executor="ray", workers=1))
    assert latents_file(mine, 1).read_bytes() == latents_file(encoded, 1).read_bytes()
