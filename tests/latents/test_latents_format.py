"""The file of latents: plain safetensors, written as a stream, read by range, never believed blindly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from pipelines.latents_format import PREFIX, LatentsIdentity, LatentsWriter, encoders_digest, header_length, read_header
from pipelines.shard_format import BadSample

SHAPES = st.dictionaries(
    st.text("abc.", min_size=1, max_size=8), st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple), min_size=1
)


@settings(max_examples=30, deadline=None)
@given(SHAPES)
def test_the_safetensors_library_and_our_ranges_read_what_was_written(tmp_path_factory, shapes: dict):
    path = tmp_path_factory.mktemp("latents") / "x.safetensors"
    rng = np.random.default_rng(0)
    values = {name: rng.normal(size=shape).astype(np.float16) for name, shape in shapes.items()}
    with LatentsWriter(path, shapes, {"key": "k"}) as writer:
        for array in values.values():
            writer.write(array)
    loaded = load_file(path)
    data = path.read_bytes()
    spans = read_header(data[PREFIX : PREFIX + header_length(data[:PREFIX], "x")], "x")
    assert loaded.keys() == values.keys() == spans.keys()
    for name, array in values.items():
        np.testing.assert_array_equal(loaded[name], array)
        start, length = spans[name].rows(len(array) - 1, 1)
        np.testing.assert_array_equal(np.frombuffer(data[start : start + length], np.float16), array[-1].ravel())


def test_a_file_with_values_missing_is_an_error(tmp_path: Path):
    with (
        pytest.raises(ValueError, match="bytes were written of"),
        LatentsWriter(tmp_path / "x", {"a": (3,)}, {}) as writer,
    ):
        writer.write(np.zeros(2, np.float16))


def test_filling_ends_at_the_end_of_the_tensor(tmp_path: Path):
    with LatentsWriter(tmp_path / "x", {"a": (3,), "b": (2,)}, {}) as writer:
        writer.write(np.ones(1, np.float16))
        writer.fill("a")
        writer.write(np.ones(2, np.float16))
    loaded = load_file(tmp_path / "x")
    assert np.isnan(loaded["a"][1:]).all()
    assert (loaded["b"] == 1).all()


@settings(max_examples=100, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.sampled_from(
            [b'{"a": 1}', b'{"a": {"dtype": "F32"}}', b"[]", b'{"a":{"dtype":"F16","shape":[9],"data_offsets":[0,4]}}']
        ),
    )
)
def test_a_header_that_is_none_is_refused(header: bytes):
    try:
        assert read_header(header, "x") == {}
    except BadSample:
        return
    assert header.strip().startswith(b"{")


@pytest.mark.parametrize("prefix", [b"", b"\0" * 8, b"\xff" * 8])
def test_a_length_that_cannot_be_is_refused(prefix: bytes):
    with pytest.raises(BadSample, match="not a safetensors file"):
        header_length(prefix, "x")


def test_every_part_of_the_identity_changes_the_key():
    keys = {
        LatentsIdentity(encoders, size, precision).key
        for encoders in ("a", "b")
        for size in ((64, 96), (96, 64))
        for precision in ("fp32", "bf16")
    }
    assert len(keys) == 8


def test_the_digest_is_that_of_the_weights_wherever_they_lie(tmp_path: Path):
    for folder in ("one", "two"):
        for part in ("vae", "image_encoder"):
            (tmp_path / folder / part).mkdir(parents=True)
            (tmp_path / folder / part / "w.safetensors").write_bytes(part.encode())
    first = encoders_digest(tmp_path / "one")
    assert encoders_digest(tmp_path / "two") == first
    (tmp_path / "two" / "vae" / "w.safetensors").write_bytes(b"other")
    assert encoders_digest(tmp_path / "two") != first
    with pytest.raises(FileNotFoundError, match="no safetensors in"):
        encoders_digest(tmp_path)
