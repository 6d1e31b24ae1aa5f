from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.ingest.spans import Splitter


class Recorder:
    """A sink that keeps what it is given, and checks the order of the calls."""

    def __init__(self) -> None:
        self.clips: list[list[int]] = []
        self.dropped: list[tuple[int, int]] = []
        self.open = False

    def begin(self) -> None:
        assert not self.open
        self.open = True
        self.clips.append([])

    def add(self, frame: int) -> None:
        assert self.open
        self.clips[-1].append(frame)

    def end(self) -> None:
        assert self.open
        self.open = False

    def drop(self, first: int, count: int) -> None:
        assert not self.open
        self.dropped.append((first, count))


def split(shots: list[int], shortest: int, longest: int) -> tuple[Recorder, int]:
    """Run shots of these lengths through a splitter; also returns the most frames it held."""
    sink, frame, held = Recorder(), 0, 0
    splitter = Splitter(shortest, longest, sink)
    for length in shots:
        for position in range(length):
            splitter.push(frame, position == 0)
            held = max(held, len(splitter._pending))
            frame += 1
    splitter.end_shot()
    return sink, held


lengths = st.lists(st.integers(1, 120), max_size=8)
bounds = st.integers(1, 12).flatmap(lambda low: st.tuples(st.just(low), st.integers(2 * low, 5 * low)))


@given(lengths, bounds)
def test_every_frame_of_a_long_enough_shot_is_in_exactly_one_clip(shots: list[int], limits: tuple[int, int]) -> None:
    sink, _ = split(shots, *limits)
    starts = [sum(shots[:i]) for i in range(len(shots))]
    kept = [f for start, n in zip(starts, shots, strict=True) if n >= limits[0] for f in range(start, start + n)]
    assert [frame for clip in sink.clips for frame in clip] == kept


@given(lengths, bounds)
def test_clips_are_within_bounds_and_inside_one_shot(shots: list[int], limits: tuple[int, int]) -> None:
    sink, _ = split(shots, *limits)
    shot_of = [i for i, length in enumerate(shots) for _ in range(length)]
    assert all(limits[0] <= len(clip) <= limits[1] for clip in sink.clips)
    assert all(len({shot_of[frame] for frame in clip}) == 1 for clip in sink.clips)
    assert not sink.open


@given(lengths, bounds)
def test_short_shots_are_dropped_whole(shots: list[int], limits: tuple[int, int]) -> None:
    sink, _ = split(shots, *limits)
    expected = [(sum(shots[:i]), n) for i, n in enumerate(shots) if n < limits[0]]
    assert sink.dropped == expected


@given(lengths, bounds)
def test_at_most_the_shortest_clip_and_one_frame_are_held(shots: list[int], limits: tuple[int, int]) -> None:
    assert split(shots, *limits)[1] <= limits[0] + 1


def test_a_shot_of_the_longest_length_stays_whole() -> None:
    assert [len(clip) for clip in split([20], 2, 20)[0].clips] == [20]


def test_a_longer_shot_leaves_an_end_that_is_long_enough() -> None:
    assert [len(clip) for clip in split([21], 2, 20)[0].clips] == [18, 3]


@pytest.mark.parametrize(("shortest", "longest"), [(0, 10), (6, 11)])
def test_impossible_bounds_are_refused(shortest: int, longest: int) -> None:
    with pytest.raises(ValueError, match="twice"):
        Splitter(shortest, longest, Recorder())
