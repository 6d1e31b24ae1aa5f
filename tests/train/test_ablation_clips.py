"""The ablation's clips: their regions, their order, and what a variant lacks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.encoders import TINY, load_encoders
from tests.train.small_ablation import SETTINGS, regions_of, small_ablation
from tests.train.stream.small_shards import frame_of
from train.ablation.clips import (
    BadTruth,
    ClipSet,
    cut_out,
    load_clips,
    place_of_cut,
    read_clips,
    save_clips,
    training_batch,
)
from train.ablation.score import by_region
from train.ablation.variants import BASE, VARIANTS, without


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_ablation(tmp_path_factory.mktemp("ablation") / "out")


@pytest.fixture(scope="module")
def clips(folder: Path) -> ClipSet:
    image = load_encoders(TINY).image
    return read_clips(folder / "shards/test", folder / "films", SETTINGS.clips, 2, image, regions=True)


def test_each_film_has_its_windows(clips: ClipSet) -> None:
    assert sorted(clips.films) == sorted(2 * [f"test-{number}" for number in range(6, 10)])
    assert set(clips.people) == {"test-p3", "test-p4"}


def test_regions_are_those_of_the_frames_that_are_seen(clips: ClipSet) -> None:
    assert clips.batch.frames is not None
    assert clips.regions is not None
    for pictures, regions in zip(clips.batch.frames, clips.regions):
        shown = [frame_of(float(picture.float().mean())) for picture in pictures]
        assert [int(region[0, 0]) for region in regions] == [number % 5 for number in shown]
        assert torch.equal(regions[0, 5], torch.arange(4).repeat_interleave(8).to(torch.uint8))


def test_the_reference_is_the_first_frame(clips: ClipSet) -> None:
    assert clips.batch.frames is not None
    difference = clips.batch.frames[:, 0].float() - clips.batch.reference.float()
    assert difference.abs().max() <= 3


def test_clips_come_back_from_their_file(clips: ClipSet, tmp_path: Path) -> None:
    save_clips(tmp_path / "clips.safetensors", clips)
    again = load_clips(tmp_path / "clips.safetensors")
    assert (again.films, again.people, again.batch.keys) == (clips.films, clips.people, clips.batch.keys)
    assert all(torch.equal(tensor, again.batch.tensors()[name]) for name, tensor in clips.batch.tensors().items())


def test_shards_of_other_films_are_refused(folder: Path, tmp_path: Path) -> None:
    other = small_ablation(tmp_path / "other")
    path = other / "films/truth/clips.json"
    path.write_text(path.read_text().replace('"sha256": "', '"sha256": "f'))
    with pytest.raises(BadTruth, match="is no film of"):
        read_clips(folder / "shards/test", other / "films", SETTINGS.clips, 1, load_encoders(TINY).image, regions=False)


def test_a_missing_truth_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadTruth, match="groundtruth make"):
        read_clips(folder / "shards/test", tmp_path, SETTINGS.clips, 1, load_encoders(TINY).image, regions=False)


def test_regions_that_are_too_short_are_named(folder: Path, tmp_path: Path) -> None:
    other = small_ablation(tmp_path / "other")
    for number in range(6, 10):
        np.savez(other / f"films/truth/regions/test-{number}.npz", regions=regions_of(number)[:1])
    with pytest.raises(BadTruth, match=r"test-\d\.npz: expected `regions`"):
        read_clips(other / "shards/test", other / "films", SETTINGS.clips, 1, load_encoders(TINY).image, regions=True)


def test_every_window_comes_once_an_epoch_and_variants_share_the_order(clips: ClipSet) -> None:
    batches = [training_batch(clips, 0, step, 2) for step in range(4)]
    firsts = [
        tuple(f.flatten()[:40].tolist())
        for batch in batches
        for f in (batch.frames if batch.frames is not None else [])
    ]
    assert len(set(firsts)) <= len(clips)
    assert [int(i) for batch in batches for i in batch.index] == list(range(8))
    assert sorted(key for batch in batches for key in batch.keys) == sorted(clips.batch.keys)
    again = training_batch(clips, 0, 3, 2)
    assert again.keys == batches[3].keys
    assert [training_batch(clips, 1, step, 2).keys for step in range(4)] != [batch.keys for batch in batches]


@pytest.mark.parametrize("variant", [*VARIANTS, BASE])
def test_a_variant_lacks_only_its_condition(clips: ClipSet, variant: str) -> None:
    batch = clips.take(list(range(len(clips))))
    batch = type(batch)(
        **{
            **vars(batch),
            "rendering": torch.ones_like(batch.rendering),
            "face_valid": torch.ones(len(batch), dtype=torch.bool),
        }
    )
    left = without(batch, variant)
    gone = {
        "face_valid": variant in ("no_identity", BASE),
        "skeleton": variant in ("no_skeleton", BASE),
        "rendering": variant in ("no_rendering", BASE),
    }
    for name, tensor in batch.tensors().items():
        if gone.get(name):
            assert not left.tensors()[name].any()
        else:
            assert torch.equal(left.tensors()[name], tensor)


def test_a_variant_that_is_not_there_is_refused(clips: ClipSet) -> None:
    with pytest.raises(ValueError, match="there is no variant 'no_face'"):
        without(clips.take([0]), "no_face")


def test_errors_are_averaged_over_the_pixels_of_a_region() -> None:
    regions = torch.tensor([[[[0, 0], [2, 3]]]], dtype=torch.uint8)
    errors = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]])
    found = by_region(errors, regions)[0]
    assert found[[0, 2, 3, 5]].tolist() == [2.0, 5.0, 7.0, 4.0]
    assert found[[1, 4]].isnan().all()


def test_the_cut_has_the_head_and_moves_the_boxes(clips: ClipSet) -> None:
    columns = torch.arange(32, dtype=torch.uint8).expand(1, 2, 3, 32, 32).contiguous()
    rendering = torch.zeros(1, 2, 3, 32, 32, dtype=torch.uint8)
    rendering[..., 14:18, 21:24] = 200
    rendering[..., 18:, 10:30] = 200
    boxes = torch.tensor([[[20.0, 16.0, 24.0, 20.0], [20.0, 16.0, 24.0, 20.0]]])
    batch = replace(clips.take([0]), frames=columns, rendering=rendering, face_box=boxes)
    left, top = place_of_cut(batch, 16)
    assert (left, top) == (14, 12)
    cut = cut_out(batch, left, top, 16)
    assert cut.frames is not None
    assert cut.frames[0, 0, 0, 0].tolist() == list(range(14, 30))
    assert cut.face_box[0, 0].tolist() == [6.0, 4.0, 10.0, 8.0]


def test_a_box_outside_the_cut_is_gone(clips: ClipSet) -> None:
    batch = replace(clips.take([0]), face_box=torch.tensor([[[0.0, 0.0, 8.0, 8.0], [0.0, 0.0, 0.0, 0.0]]]))
    assert not cut_out(batch, 16, 16, 16).face_box.any()


def test_without_a_rendering_the_middle_is_cut(clips: ClipSet) -> None:
    batch = clips.take([0])
    assert place_of_cut(replace(batch, rendering=torch.zeros_like(batch.rendering)), 16) == (8, 8)
