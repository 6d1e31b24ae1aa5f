"""Near-duplicates are found among many clips, and only they."""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from pipelines.audit.duplicates import compare, find_near
from pipelines.audit.fingerprint import (
    LENGTH,
    MIRROR,
    SAMPLES,
    SIDE,
    cut_window,
    describe,
    sample_times,
    trunk_window,
)


def clip(seed: int, frames: int = SAMPLES) -> NDArray[np.int8]:
    """Descriptions of a clip that changes smoothly: int8 (frames, LENGTH)."""
    rng = np.random.default_rng(seed)
    base, drift = rng.normal(size=(2, LENGTH))
    codes = base + np.linspace(-0.6, 0.6, frames)[:, None] * drift
    return np.rint(codes / np.linalg.norm(codes, axis=1, keepdims=True) * 400).clip(-127, 127).astype(np.int8)


def noisy(codes: NDArray[np.int8], amount: float, seed: int = 9) -> NDArray[np.int8]:
    noise = np.random.default_rng(seed).normal(0, amount * 33, codes.shape)
    return np.rint(codes + noise).clip(-127, 127).astype(np.int8)


def found(clips: dict[str, NDArray[np.int8]], seconds: dict[str, float] | None = None) -> list[tuple]:
    rows = [
        {"key": key, "seconds": (seconds or {}).get(key, 4.0), "frame": codes.tobytes(), "person": codes.tobytes()}
        for key, codes in clips.items()
    ]
    connection = duckdb.connect()
    connection.register("rows", pa.Table.from_pylist(rows))
    connection.execute("create table prints as select * from rows")
    return [tuple(row.values()) for row in find_near(connection, "prints").to_pylist()]


def test_one_copy_among_three_hundred_is_found_and_nothing_else():
    clips = {f"{n:03d}": clip(n) for n in range(300)} | {"copy": noisy(clip(7), 0.2)}
    assert [(a, b, mirrored) for a, b, _, _, mirrored, _ in found(clips)] == [("007", "copy", False)]


def test_a_mirrored_copy_is_found_as_such():
    clips = {f"{n:03d}": clip(n) for n in range(50)} | {"copy": noisy(clip(7) * MIRROR, 0.1)}
    assert [(a, b, mirrored) for a, b, _, _, mirrored, _ in found(clips)] == [("007", "copy", True)]


def test_the_speed_of_a_copy_is_told():
    (pair,) = found({"a": clip(1), "b": noisy(clip(1), 0.1)}, {"a": 4.0, "b": 2.0})
    assert pair[5] == pytest.approx(0.5, abs=0.05)


def test_a_part_of_a_clip_is_found_with_its_overlap():
    whole = clip(1, 2 * SAMPLES)
    (pair,) = found({"a": whole[::2], "b": noisy(whole[:SAMPLES], 0.05)}, {"a": 8.0, "b": 4.0})
    assert pair[2] > 0.9


def test_clips_without_any_description_are_no_pair():
    blank = np.zeros((SAMPLES, LENGTH), np.int8)
    assert found({"a": blank, "b": blank}) == []


def test_a_hash_that_everybody_shares_still_links_all_of_them():
    clips = {f"{n:03d}": noisy(clip(1), 0.02, n) for n in range(120)}
    linked = {name for a, b, *_ in found(clips) for name in (a, b)}
    assert linked == set(clips)


def test_no_clips_give_no_pairs():
    assert found({"only": clip(1)}) == []


def test_two_unrelated_clips_are_far_apart():
    similarity, _ = compare(clip(1)[None], clip(2)[None])
    assert similarity[0] < 0.4


def picture(seed: int = 0) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    import cv2

    small = rng.integers(0, 255, (12, 9)).astype(np.uint8)
    return np.asarray(cv2.resize(small, (144, 192), interpolation=cv2.INTER_CUBIC), np.uint8)


def cosine(a: NDArray[np.int8], b: NDArray[np.int8]) -> float:
    x, y = a.astype(float), b.astype(float)
    return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


def test_the_window_of_a_mirrored_picture_is_described_by_the_mirrored_code():
    grey = picture()
    plain = describe(cut_window(grey, 70.0, 90.0, 40.0))
    turned = describe(cut_window(np.ascontiguousarray(grey[:, ::-1]), 144 - 70.0, 90.0, 40.0))
    assert cosine(plain * MIRROR, turned) > 0.999


def test_the_window_does_not_change_when_the_picture_is_cropped():
    grey = picture()
    plain = describe(cut_window(grey, 70.0, 90.0, 40.0))
    cropped = describe(cut_window(grey[30:, 20:120], 50.0, 60.0, 40.0))
    assert cosine(plain, cropped) > 0.999


def test_the_window_hardly_changes_when_the_picture_is_scaled():
    import cv2

    grey = picture()
    half = np.asarray(cv2.resize(grey, (72, 96), interpolation=cv2.INTER_AREA), np.uint8)
    assert cosine(describe(cut_window(grey, 70.0, 90.0, 40.0)), describe(cut_window(half, 35.0, 45.0, 20.0))) > 0.97


def test_a_flat_picture_has_no_description():
    assert not describe(np.full((SIDE, SIDE), 90, np.uint8)).any()


def test_no_window_without_a_trunk():
    assert trunk_window(np.zeros((133, 2), np.float32), np.zeros(133, np.float32)) is None


@pytest.mark.parametrize("frames", [1, 5, 16, 17, 1000])
def test_moments_lie_inside_the_clip(frames: int):
    times = sample_times(frames)
    assert len(times) == SAMPLES
    assert times.min() >= 0
    assert times.max() < frames
