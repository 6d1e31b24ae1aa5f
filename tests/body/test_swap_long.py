"""Swapping the shape of a long sequence: frames are posed some at a time, with the same result."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from pipelines.body import swap as swapping
from pipelines.body.model import Body, load_body
from pipelines.body.swap import SwapConfig, swap
from tests.body.body_motions import dance


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


@pytest.mark.parametrize("anchor", ["feet", "pelvis", "neck"])
def test_frames_posed_some_at_a_time_stand_where_all_at_once_do(
    body: Body, anchor: str, monkeypatch: pytest.MonkeyPatch
):
    driving, reference = dance(body, 30, np.zeros(10, np.float32)), dance(body, 2, np.ones(10, np.float32))
    config = SwapConfig(anchor=anchor)  # type: ignore[arg-type]
    at_once = swap(reference, driving, body, config).transl
    monkeypatch.setattr(swapping, "_CHUNK", 7)
    np.testing.assert_allclose(swap(reference, driving, body, config).transl, at_once, atol=1e-6)


def test_what_a_swap_holds_beside_its_result_does_not_grow_with_the_sequence(
    body: Body, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(swapping, "_CHUNK", 60)
    reference = dance(body, 1, np.ones(10, np.float32))

    def peak(frames: int) -> int:
        driving = dance(body, frames, np.zeros(10, np.float32))
        tracemalloc.start()
        try:
            swap(reference, driving, body)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    short, long = peak(60), peak(600)
    assert (long - short) / 540 < 1000, "bytes a frame; 23 kB if all were posed at once"
