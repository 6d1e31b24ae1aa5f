"""The main job on demo videos and on real ones: what is kept, what is dropped and why, and who can read it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image

from pipelines.cli import main
from pipelines.clip import BODY
from pipelines.inspect import inspect_shards
from pipelines.shard_format import Sample, decode_sample, read_shard
from pipelines.video.reader import ClipReader, MapsReader


def run(*arguments: str) -> int:
    return main(["shards", *arguments, "--executor", "inline", "--profile", "lite"])


@pytest.fixture(scope="module")
def out(demo_clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    assert run(str(demo_clips), "--out", str(folder)) == 0
    return folder


@pytest.fixture(scope="module")
def samples(out: Path) -> list[Sample]:
    return [sample for shard in sorted((out / "shards").glob("*.tar")) for sample in read_shard(shard)]


def test_every_demo_clip_of_one_person_is_kept(demo_clips: Path, samples: list[Sample]):
    assert len(samples) == len(list(demo_clips.glob("*.mp4")))


def test_video_and_maps_have_the_length_and_size_of_the_sample(samples: list[Sample]):
    for sample in samples:
        with ClipReader(sample.video) as video, MapsReader(sample.render) as maps:
            assert (len(video), len(maps), list(video.size)) == (sample.meta["frames"],) * 2 + (sample.meta["size"],)


def test_the_rendered_body_covers_the_person(samples: list[Sample]):
    """Seen body points lie on the rendering, or within a few pixels of it."""
    for sample in samples:
        middle = len(sample.keypoints) // 2
        with MapsReader(sample.render) as maps:
            labels = maps.frames([middle])[1][0]
        points = sample.keypoints.points[middle, BODY][sample.keypoints.scores[middle, BODY] > 0.5]
        near = [labels[max(0, int(y) - 8) : int(y) + 9, max(0, int(x) - 8) : int(x) + 9].any() for x, y in points]
        assert np.mean(near) > 0.9


def test_plain_webdataset_reads_the_shards(out: Path, samples: list[Sample]):
    urls = [str(path) for path in sorted((out / "shards").glob("*.tar"))]
    read = []
    for parts in webdataset.WebDataset(urls, shardshuffle=False):
        read.append(decode_sample(parts["__key__"], parts).key)
    assert read == [sample.key for sample in samples]


def test_provenance_reaches_the_sample(samples: list[Sample]):
    assert {sample.meta["licence"] for sample in samples} == {"CC0-1.0"}


def test_inspect_writes_a_sheet_and_a_film_per_sample(out: Path, samples: list[Sample], tmp_path: Path):
    written = inspect_shards(out, tmp_path, limit=1)
    key = samples[0].key
    assert [path.name for path in written] == [f"{key}.png", f"{key}.mp4"]
    with Image.open(written[0]) as sheet, ClipReader(written[1]) as film:
        assert sheet.width > 800
        assert len(film) == samples[0].meta["frames"]


def test_inspect_of_something_else_says_what_it_wants(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main(["inspect", str(tmp_path)]) == 1
    assert "neither a shard nor an output folder" in capsys.readouterr().err


@pytest.mark.slow
def test_real_videos_of_one_person_are_kept_and_crowds_are_dropped(shared_media: Path, tmp_path: Path):
    assert run(str(shared_media), "--out", str(tmp_path)) == 0
    rows = pq.read_table(tmp_path / "manifest.parquet").to_pylist()
    ends = {(Path(row["source_path"]).stem, row["state"], row["reason"]) for row in rows if row["key"]}
    assert ends == {
        ("musepose_dance", "kept", None),
        ("controlnext_01", "kept", None),
        ("dreampose_demo", "kept", None),
        ("finetrainers_hiker", "kept", None),
        ("facenet_video", "dropped", "crowd"),
        ("openpose_video", "dropped", "crowd"),
    }


@pytest.mark.slow
def test_without_a_source_the_demo_videos_become_shards(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert run("--out", str(tmp_path)) == 0
    rows = pq.read_table(tmp_path / "manifest.parquet").to_pylist()
    kept = {Path(row["source_path"]).stem for row in rows if row["state"] == "kept"}
    dropped = {(Path(row["source_path"]).stem, row["reason"]) for row in rows if row["state"] == "dropped"}
    assert kept == {"wave", "squat", "dance", "walk", "cut"}
    assert dropped == {("cut", "shot_too_short"), ("nobody", "nobody")}
