from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.clip import Keypoints
from pipelines.engine.setup_error import SetupError
from pipelines.groundtruth.make import make_groundtruth
from pipelines.groundtruth.people import CODE_NAME
from pipelines.groundtruth.settings import GroundTruthSettings
from pipelines.groundtruth.shards import write_identities
from pipelines.groundtruth.truth import read_identities
from pipelines.shard_format import Face, encode_face, encode_keypoints, encode_meta, read_shard, read_tar, write_tar
from pipelines.shard_index import ShardIndex, index_name, index_tar

FRAMES, SHARD = 3, "vividpose-000000.tar"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("films")
    return out, make_groundtruth(out, GroundTruthSettings(7, 2, 1, 1, FRAMES, 64))


def dataset(folder: Path, keys: list[str], films: Path, clips: list[dict[str, Any]]) -> Path:
    """A dataset with a sample for each key, as `vividpose shards` lays it out."""
    points = Keypoints(np.ones((FRAMES, 133, 2)), np.ones((FRAMES, 133)), np.ones((FRAMES, 4)), "test")  # type: ignore[arg-type]
    samples = []
    for key, clip in zip(keys, clips, strict=True):
        meta = {"schema": 1, "frames": FRAMES, "fps": [12, 1], "size": [64, 64], "estimators": {"face": {}}}
        members = {"video.mp4": (films / clip["video"]).read_bytes(), "render.mp4": b"maps",
                   "pose.npz": encode_keypoints(points), "smplx.npz": (films / clip["body"]).read_bytes(),
                   "face.npz": encode_face(Face.absent(FRAMES)), "json": encode_meta(meta)}  # fmt: skip
        samples.append((key, members))
    tar = folder / "shards" / SHARD
    tar.parent.mkdir(parents=True)
    write_tar(tar, samples)
    sha256, size = hashlib.sha256(tar.read_bytes()).hexdigest(), tar.stat().st_size
    tar.with_name(index_name(SHARD)).write_bytes(index_tar(tar, SHARD, sha256, size).to_json())
    row = {"name": SHARD, "sha256": sha256, "bytes": size, "samples": len(keys), "frames": FRAMES * len(keys)}
    listed = {"schema": 1, "hash": "", "samples": 0, "frames": 0, "bytes": 0, "estimators": {}, "shards": [row]}
    (folder / "dataset.json").write_text(json.dumps(listed))
    return folder


@pytest.fixture
def shards(films: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    out, truth = films
    keys = [f"{clip['sha256'][:16]}_000000" for clip in truth["clips"]]
    return dataset(tmp_path / "data", keys, out, truth["clips"])


def test_every_frame_has_the_code_of_its_person(films: tuple[Path, dict[str, Any]], shards: Path) -> None:
    out, truth = films
    codes = read_identities(out)
    people = {clip["sha256"][:16]: clip["person"] for clip in truth["clips"]}
    assert write_identities(out, shards) == 3
    for sample in read_shard(shards / "shards" / SHARD):
        assert sample.face.valid.all()
        code = codes[people[sample.key[:16]]]
        np.testing.assert_allclose(sample.face.embeddings, np.repeat(code[None], FRAMES, 0), atol=1e-3)


def test_samples_say_where_the_identity_is_from(films: tuple[Path, dict[str, Any]], shards: Path) -> None:
    write_identities(films[0], shards)
    for sample in read_shard(shards / "shards" / SHARD):
        assert sample.meta["identity_source"] == sample.face.model == CODE_NAME
        assert sample.meta["estimators"]["face"]["estimator"] == CODE_NAME


def test_the_hashes_beside_the_shards_agree_afterwards(films: tuple[Path, dict[str, Any]], shards: Path) -> None:
    write_identities(films[0], shards)
    data = (shards / "shards" / SHARD).read_bytes()
    listed = json.loads((shards / "dataset.json").read_text())
    index = ShardIndex.from_json((shards / "shards" / index_name(SHARD)).read_bytes())
    assert listed["shards"][0]["sha256"] == index.sha256 == hashlib.sha256(data).hexdigest()
    assert listed["bytes"] == index.size == len(data)
    assert listed["estimators"]["face"] == CODE_NAME


def test_nothing_else_of_a_sample_changes(films: tuple[Path, dict[str, Any]], shards: Path) -> None:
    tar = shards / "shards" / SHARD
    before = list(read_tar(tar))
    write_identities(films[0], shards)
    for (key, old), (same_key, new) in zip(before, read_tar(tar), strict=True):
        assert key == same_key
        assert {name for name in old if old[name] != new[name]} == {"face.npz", "json"}


def test_once_more_changes_nothing(films: tuple[Path, dict[str, Any]], shards: Path) -> None:
    write_identities(films[0], shards)
    files = [shards / "shards" / SHARD, shards / "dataset.json"]
    before = [path.read_bytes() for path in files]
    write_identities(films[0], shards)
    assert [path.read_bytes() for path in files] == before


def test_shards_of_other_videos_are_refused_and_stay(films: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    out, truth = films
    data = dataset(tmp_path / "strange", ["0123456789abcdef_000000"], out, truth["clips"][:1])
    before = (data / "shards" / SHARD).read_bytes()
    with pytest.raises(SetupError, match="sample 0123456789abcdef_000000 is of no film"):
        write_identities(out, data)
    assert (data / "shards" / SHARD).read_bytes() == before


def test_a_folder_without_a_dataset_is_refused(films: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"has no dataset\.json"):
        write_identities(films[0], tmp_path)
