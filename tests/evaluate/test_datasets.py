"""Layouts and splits of the datasets, each up to the commands that go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.evaluate.datasets import generic, tiktok, ubc
from pipelines.evaluate.datasets.layout import BadLayout
from pipelines.evaluate.datasets.split import split_dataset
from pipelines.evaluate.sources import find_videos
from pipelines.ingest.sources import find_sources
from pipelines.video.reader import ClipReader
from tests.evaluate.videos import moving, write_frames


def sequences(root: Path, *numbers: int, form: str = "{:05d}", below: str = "images") -> Path:
    for number in numbers:
        write_frames(root / form.format(number) / below, moving(3, number, size=(33, 40)))
    return root


def videos(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}.mp4").write_bytes(b"x")
    return folder


@pytest.mark.parametrize(("form", "below"), [("{:05d}", "images"), ("{:03d}", "."), ("TiktokDance_{:05d}", ".")])
def test_tiktok_is_split_as_disco_does(tmp_path: Path, form: str, below: str) -> None:
    found = tiktok.split(sequences(tmp_path, 1, 334, 335, 340, 341, form=form, below=below))
    assert [clip.name for clip in found.part("train")] == ["00001", "00334"]
    assert [clip.name for clip in found.part("test")] == ["00335", "00340"]
    assert any("336 of 340 sequences are missing, the first is 00002" in note for note in found.notes)
    assert any("00341" in note or "341" in note for note in found.notes)


def test_tiktok_ends_in_a_list_for_shards_and_a_folder_for_evaluate(tmp_path: Path) -> None:
    root = sequences(tmp_path / "set", 1, 2, 335)
    lines = list(split_dataset("tiktok", root, tmp_path / "out"))
    sources = find_sources(tmp_path / "out" / "train.txt")
    assert [source.reason for source in sources] == [None, None]
    with ClipReader(sources[0].location) as clip:
        assert (len(clip), clip.size, clip.fps) == (3, (32, 40), 30)
    truths, _ = find_videos(tmp_path / "out" / "test")
    assert [(video.name, len(video.files)) for video in truths] == [("00335", 3)]
    assert any("make shards SRC=" in line for line in lines)
    assert any("make evaluate" in line and "DATASET=tiktok" in line for line in lines)


def test_splitting_again_changes_nothing(tmp_path: Path) -> None:
    root = sequences(tmp_path / "set", 1, 335)
    first = list(split_dataset("tiktok", root, tmp_path / "out"))
    video = tmp_path / "out" / "train" / "00001.mp4"
    before = (video.stat().st_mtime_ns, (tmp_path / "out" / "train.txt").read_bytes())
    assert list(split_dataset("tiktok", root, tmp_path / "out")) == first
    assert (video.stat().st_mtime_ns, (tmp_path / "out" / "train.txt").read_bytes()) == before


def test_a_folder_that_is_not_tiktok_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(BadLayout, match=r"00001/images/0000\.png(.|\n)*hdnet_tiktok"):
        tiktok.split(tmp_path)


def test_a_sequence_that_is_there_twice_is_told(tmp_path: Path) -> None:
    sequences(tmp_path, 7)
    sequences(tmp_path, 7, form="{:03d}", below=".")
    with pytest.raises(BadLayout, match="sequence 7 is there twice"):
        tiktok.split(tmp_path)


def test_ubc_by_folders_and_by_its_lists(tmp_path: Path) -> None:
    videos(tmp_path / "a" / "train", "x", "y")
    videos(tmp_path / "a" / "test", "z")
    by_folders = ubc.split(tmp_path / "a")
    root = videos(tmp_path / "b", "x", "y", "z")
    (root / "fashion_train.txt").write_text("https://host/path/x.mp4\nhttps://host/path/y.mp4\n")
    (root / "fashion_test.txt").write_text("https://host/path/z.mp4\nhttps://host/path/gone.mp4\n")
    by_lists = ubc.split(root)
    for found in (by_folders, by_lists):
        assert [clip.name for clip in found.part("train")] == ["x", "y"]
        assert [clip.name for clip in found.part("test")] == ["z"]
        assert any("2 videos for train, published are 500" in note for note in found.notes)
    assert any("gone.mp4" in note for note in by_lists.notes)


def test_ubc_refuses_a_video_in_both_parts_and_an_unknown_layout(tmp_path: Path) -> None:
    videos(tmp_path / "a" / "train", "x")
    videos(tmp_path / "a" / "test", "x")
    with pytest.raises(BadLayout, match="x is in both parts"):
        ubc.split(tmp_path / "a")
    with pytest.raises(BadLayout, match=r"vision\.cs\.ubc\.ca"):
        ubc.split(tmp_path)


def test_a_split_of_ones_own_is_stable_and_keeps_parts_of_a_video_together(tmp_path: Path) -> None:
    names = [f"v{number}_{part}" for number in range(60) for part in "ab"]
    found = generic.split(videos(tmp_path, *names))
    parts = {clip.name: clip.part for clip in found.clips}
    assert all(parts[f"v{number}_a"] == parts[f"v{number}_b"] for number in range(60))
    assert 2 <= len(found.part("test")) <= 30
    videos(tmp_path, "new_one")
    after = {clip.name: clip.part for clip in generic.split(tmp_path).clips}
    assert {name: after[name] for name in parts} == parts


def test_the_output_must_not_be_the_dataset(tmp_path: Path) -> None:
    root = sequences(tmp_path, 1, 335)
    with pytest.raises(BadLayout, match="is the dataset itself"):
        list(split_dataset("tiktok", root, root))
