"""The sample format: what is written is what is read, by us and by plain webdataset, and nothing is unpickled."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import webdataset

from pipelines import shard_format as fmt
from pipelines.clip import BodySequence, Camera, Keypoints

FRAMES = 5


def a_body(rng: np.random.Generator, frames: int = FRAMES) -> BodySequence:
    arrays = {name: rng.normal(size=(frames, *shape)).astype(np.float32) for name, shape in fmt.BODY_SHAPES.items()}
    return BodySequence(
        betas=rng.normal(size=10).astype(np.float32),
        **arrays,
        camera=Camera(800.5, (256.0, 384.0), (512, 768)),
        flat_hand_mean=False,
        body_hash="ab" * 32,
        valid=rng.random(frames) > 0.5,
    )


def some_keypoints(rng: np.random.Generator, frames: int = FRAMES) -> Keypoints:
    return Keypoints(
        rng.random((frames, 133, 2), np.float32) * 500,
        rng.random((frames, 133), np.float32),
        rng.random((frames, 4), np.float32) * 500,
        "test/1",
    )


def members(seed: int = 0, frames: int = FRAMES) -> dict[str, bytes]:
    rng = np.random.default_rng(seed)
    return {
        "json": fmt.encode_meta({"schema": fmt.SCHEMA_VERSION, "frames": frames, "fps": [30000, 1001]}),
        "pose.npz": fmt.encode_keypoints(some_keypoints(rng, frames)),
        "smplx.npz": fmt.encode_body(a_body(rng, frames)),
        "face.npz": fmt.encode_face(fmt.Face.absent(frames)),
        "video.mp4": b"video",
        "render.mp4": b"render",
    }


def test_a_body_survives_the_round_trip():
    body = a_body(np.random.default_rng(1))
    again = fmt.decode_body(fmt.encode_body(body))
    for name in (*fmt.BODY_SHAPES, "betas", "valid"):
        np.testing.assert_array_equal(getattr(again, name), getattr(body, name))
    assert (again.camera, again.flat_hand_mean, again.body_hash) == (body.camera, body.flat_hand_mean, body.body_hash)


def test_key_points_survive_the_round_trip():
    points = some_keypoints(np.random.default_rng(1))
    again = fmt.decode_keypoints(fmt.encode_keypoints(points))
    for name in ("points", "scores", "boxes"):
        np.testing.assert_array_equal(getattr(again, name), getattr(points, name))
    assert again.estimator == "test/1"


def test_an_absent_face_says_so():
    face = fmt.decode_face(fmt.encode_face(fmt.Face.absent(3)))
    assert (face.model, face.valid.any(), face.embeddings.shape) == ("none", False, (3, 512))


def test_equal_samples_give_an_equal_tar(tmp_path: Path):
    for name in ("a.tar", "b.tar"):
        fmt.write_tar(tmp_path / name, [("k1", members(1)), ("k2", members(2))])
    first, second = (hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("a.tar", "b.tar"))
    assert first == second


def test_plain_webdataset_reads_a_shard(tmp_path: Path):
    fmt.write_tar(tmp_path / "x.tar", [("k1", members(1)), ("k2", members(2))])
    samples = list(webdataset.WebDataset(str(tmp_path / "x.tar"), shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == ["k1", "k2"]
    assert {name for name in samples[0] if not name.startswith("__")} == set(fmt.MEMBERS)


def test_our_reader_reads_what_our_writer_wrote(tmp_path: Path):
    fmt.write_tar(tmp_path / "x.tar", [("k1", members(1)), ("k2", members(2))])
    samples = list(fmt.read_shard(tmp_path / "x.tar"))
    assert [sample.key for sample in samples] == ["k1", "k2"]
    assert samples[0].fps == Fraction(30000, 1001)
    assert samples[1].video == b"video"


def test_a_truncated_shard_is_named(tmp_path: Path):
    path = tmp_path / "x.tar"
    fmt.write_tar(path, [("k1", members(1)), ("k2", members(2))])
    path.write_bytes(path.read_bytes()[:-12000])
    with pytest.raises(fmt.BadSample, match=r"x\.tar is damaged|k2"):
        list(fmt.read_shard(path))


def test_a_sample_without_a_member_names_it():
    parts = members()
    del parts["smplx.npz"]
    with pytest.raises(fmt.BadSample, match=r"k1 lacks smplx\.npz"):
        fmt.decode_sample("k1", parts)


def test_members_of_different_lengths_are_refused():
    parts = {**members(), "pose.npz": members(frames=7)["pose.npz"]}
    with pytest.raises(fmt.BadSample, match="disagree about the number of frames"):
        fmt.decode_sample("k1", parts)


def test_another_schema_version_is_refused_with_both_numbers():
    parts = {**members(), "json": json.dumps({"schema": 99, "frames": 5}).encode()}
    with pytest.raises(fmt.BadSample, match="99; this software reads version 1"):
        fmt.decode_sample("k1", parts)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


def test_a_pickle_in_an_npz_is_refused_and_not_run():
    stream = io.BytesIO()
    np.savez(stream, keypoints=np.array([Bomb()], dtype=object))
    with pytest.raises(fmt.BadSample, match="allow_pickle"):
        fmt.decode_keypoints(stream.getvalue())


def test_writing_python_objects_is_refused():
    with pytest.raises(TypeError, match="'x'"):
        fmt.pack_arrays({"x": np.array([{}], dtype=object)})


def test_bytes_that_are_no_npz_are_refused():
    with pytest.raises(fmt.BadSample, match="not a plain npz"):
        fmt.decode_body(b"nonsense")


def test_a_key_with_a_dot_is_refused(tmp_path: Path):
    with pytest.raises(fmt.BadSample, match="holds a dot"):
        fmt.write_tar(tmp_path / "x.tar", [("a.b", members())])


def test_tar_headers_carry_no_time_and_no_owner(tmp_path: Path):
    fmt.write_tar(tmp_path / "x.tar", [("k1", members())])
    with tarfile.open(tmp_path / "x.tar") as tar:
        assert {(m.mtime, m.uid, m.gid, m.uname, m.mode) for m in tar} == {(0, 0, 0, "", 0o644)}
