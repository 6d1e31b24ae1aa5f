from __future__ import annotations

import hashlib
import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipelines.video import colour
from pipelines.video.decode import Decoder
from pipelines.video.encode import KEY_INTERVAL, ClipWriter, encode_clip, encode_maps
from pipelines.video.probe import probe
from pipelines.video.reader import ClipReader, LabelReader, MapsReader
from tests.video.moving_pictures import mark_position, quarters, scene

BARS = [
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (255, 255, 255),
    (0, 0, 0),
    (128, 128, 128),
    (255, 224, 189),
    (60, 36, 20),
]
RATES = [Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(2987, 100), Fraction(24176, 999), Fraction(8)]


def bars() -> NDArray[np.uint8]:
    return np.repeat(np.array(BARS, np.uint8)[None], 128, axis=0).repeat(32, axis=1)


def labels(number: int, height: int = 128, width: int = 192) -> NDArray[np.uint8]:
    """Every level from 0 to 255, with hard edges that move."""
    rows, columns = np.mgrid[:height, :width]
    return ((rows // 8 * 24 + columns // 8 + number) % 256).astype(np.uint8)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "a.mp4"
    encode_clip(path, (quarters(i) for i in range(45)), Fraction(30000, 1001))
    return path


@pytest.mark.parametrize("fps", RATES)
def test_rate_and_length_survive_exactly(tmp_path: Path, fps: Fraction) -> None:
    assert encode_clip(tmp_path / "a.mp4", (quarters(i) for i in range(20)), fps) == 20
    with ClipReader(tmp_path / "a.mp4") as reader:
        assert (reader.fps, len(reader), reader.size) == (fps, 20, (192, 128))
    info = probe(tmp_path / "a.mp4")
    assert (info.fps, info.variable_rate) == (fps, False)


def test_flat_colours_come_back_within_three_levels(tmp_path: Path) -> None:
    encode_clip(tmp_path / "a.mp4", [bars()] * 4, Fraction(25))
    back = ClipReader(tmp_path / "a.mp4").frames([2])[0].reshape(128, len(BARS), 32, 3)[:, :, 8:24].astype(int)
    assert np.abs(back - np.array(BARS)[None, :, None]).mean(axis=(0, 2)).max() <= 3


def test_rgb_to_planes_and_back_is_nearly_exact() -> None:
    reformatter = VideoReformatter()
    frame = colour.rgb_to_frame(bars(), reformatter)
    back = colour.frame_to_rgb(frame, VideoReformatter()).reshape(128, len(BARS), 32, 3)[:, :, 8:24].astype(int)
    assert np.abs(back - np.array(BARS)[None, :, None]).max() <= 1


def test_clips_are_tagged_bt709_limited(clip: Path) -> None:
    with av.open(str(clip)) as container:
        context = container.streams.video[0].codec_context
        tags = (context.colorspace, context.color_range, context.color_primaries, context.color_trc)
    assert tags == (1, 1, 1, 1)


def test_equal_pictures_give_equal_bytes(tmp_path: Path, clip: Path) -> None:
    encode_clip(tmp_path / "b.mp4", (quarters(i) for i in range(45)), Fraction(30000, 1001))
    assert hashlib.sha256((tmp_path / "b.mp4").read_bytes()).digest() == hashlib.sha256(clip.read_bytes()).digest()


def test_no_date_and_no_writer_are_stored(clip: Path) -> None:
    with av.open(str(clip)) as container:
        stored = {**container.metadata, **container.streams.video[0].metadata}
    assert "creation_time" not in stored
    assert "encoder" not in stored


def test_the_index_lies_before_the_pictures(clip: Path) -> None:
    data = clip.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_every_sixteenth_frame_is_a_key_frame_even_at_cuts(tmp_path: Path) -> None:
    encode_clip(tmp_path / "a.mp4", (scene(i // 5, i) for i in range(40)), Fraction(25))
    with av.open(str(tmp_path / "a.mp4")) as container:
        keys = [i for i, frame in enumerate(container.decode(video=0)) if frame.key_frame]
    assert keys == list(range(0, 40, KEY_INTERVAL))


def test_stamps_equal_frame_numbers(clip: Path) -> None:
    with av.open(str(clip)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        times = [(packet.pts or 0) * Fraction(packet.time_base or 0) for packet in packets]
    assert times == [i * Fraction(1001, 30000) for i in range(45)]


def test_chunks_give_all_frames_in_order(clip: Path) -> None:
    chunks = list(ClipReader(clip).chunks(20))
    assert [chunk.shape for chunk in chunks] == [(20, 128, 192, 3), (20, 128, 192, 3), (5, 128, 192, 3)]
    assert [mark_position(frame) for chunk in chunks for frame in chunk] == list(range(45))


@settings(max_examples=25, deadline=None)
@given(indices=st.lists(st.integers(0, 44), max_size=8))
def test_random_access_equals_reading_in_order(clip: Path, indices: list[int]) -> None:
    reader = ClipReader(clip)
    whole = next(iter(reader.chunks(45)))
    np.testing.assert_array_equal(reader.frames(indices), whole[indices])


def test_a_clip_can_be_read_from_bytes(clip: Path) -> None:
    np.testing.assert_array_equal(ClipReader(clip.read_bytes()).frames([40, 3]), ClipReader(clip).frames([40, 3]))


@pytest.mark.parametrize("index", [-1, 45])
def test_a_frame_out_of_range_is_an_index_error(clip: Path, index: int) -> None:
    with pytest.raises(IndexError, match="0 to 44"):
        ClipReader(clip).frames([index])


def test_a_truncated_clip_is_a_value_error(clip: Path) -> None:
    data = clip.read_bytes()
    with pytest.raises(ValueError, match="make"):
        ClipReader(data[: len(data) * 3 // 4]).frames([44])
    with pytest.raises(ValueError, match="0 video streams"):
        ClipReader(data[:200])
    with pytest.raises(ValueError, match="not a readable clip"):
        ClipReader(b"not an mp4 at all" * 100)


def test_planes_of_the_decoder_are_written_as_they_are(tmp_path: Path, clip: Path) -> None:
    planes = [picture.planes for picture in Decoder(clip)]
    encode_clip(tmp_path / "a.mp4", planes, Fraction(25), crf=4)
    for before, after in zip(planes, Decoder(tmp_path / "a.mp4"), strict=True):
        assert np.abs(before.astype(int) - after.planes).mean() < 1


def test_a_clip_of_one_frame_is_whole(tmp_path: Path) -> None:
    encode_clip(tmp_path / "a.mp4", [quarters()], Fraction(25))
    reader = ClipReader(tmp_path / "a.mp4")
    assert (len(reader), reader.fps, reader.frames([0, 0]).shape) == (1, 25, (2, 128, 192, 3))


def test_an_error_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="192 x 128"):
        encode_clip(tmp_path / "a.mp4", [quarters(), quarters(0, 128, 128)], Fraction(25))
    assert not list(tmp_path.iterdir())


def test_an_empty_clip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        encode_clip(tmp_path / "a.mp4", [], Fraction(25))
    with pytest.raises(ValueError, match="at least one frame"), ClipWriter(tmp_path / "b.mp4", (64, 64), Fraction(25)):
        pass
    assert not list(tmp_path.iterdir())


def test_an_odd_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="even"):
        ClipWriter(tmp_path / "a.mp4", (191, 128), Fraction(25))


def test_labels_come_back_bit_for_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    given_labels = [labels(i) for i in range(19)] + [rng.integers(0, 256, (128, 192), dtype=np.uint8)]
    shaded = [quarters(i) for i in range(20)]
    assert encode_maps(tmp_path / "a.mp4", shaded, given_labels, Fraction(24)) == 20
    with MapsReader(tmp_path / "a.mp4") as reader:
        pictures, back = reader.frames([19, 0, 7])
        np.testing.assert_array_equal(back, np.stack(given_labels)[[19, 0, 7]])
        assert [mark_position(picture) for picture in pictures] == [19, 0, 7]
        assert [chunk.shape for _, chunk in reader.chunks(16)] == [(16, 128, 192), (4, 128, 192)]


def test_maps_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        encode_maps(tmp_path / name, (quarters(i) for i in range(20)), (labels(i) for i in range(20)), Fraction(24))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_maps_play_as_an_ordinary_clip(tmp_path: Path) -> None:
    encode_maps(tmp_path / "a.mp4", [quarters(i) for i in range(5)], [labels(i) for i in range(5)], Fraction(24))
    assert [mark_position(frame) for frame in ClipReader(tmp_path / "a.mp4").frames(range(5))] == list(range(5))


def test_maps_of_unequal_length_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shorter"):
        encode_maps(tmp_path / "a.mp4", [quarters(), quarters()], [labels(0)], Fraction(24))
    assert not list(tmp_path.iterdir())


def test_labels_of_another_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected labels"):
        encode_maps(tmp_path / "a.mp4", [quarters()], [labels(0, 64, 64)], Fraction(24))


def test_a_clip_has_no_labels(clip: Path) -> None:
    with pytest.raises(ValueError, match="1 video streams"):
        LabelReader(clip)


def test_a_clip_opens_from_a_buffer_of_a_shard(clip: Path) -> None:
    assert len(ClipReader(io.BytesIO(clip.read_bytes()).getvalue())) == 45
