"""Windows over a video, the order of their steps, and how the work is shared."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.wavefront import Cell, Wavefront
from model.windows import Windows


@st.composite
def any_windows(draw: st.DrawFn, most: int = 60) -> Windows:
    size = draw(st.integers(1, 16))
    return Windows(draw(st.integers(1, most)), size, draw(st.integers(0, size - 1)))


@given(any_windows())
def test_every_frame_is_covered_and_windows_are_whole_and_in_order(windows: Windows) -> None:
    spans = [windows.frames_of(w) for w in range(windows.count)]
    assert {f for span in spans for f in span} == set(range(windows.frames))
    assert all(len(span) == min(windows.size, windows.frames) for span in spans)
    assert all(a[0] < b[0] for a, b in pairwise(spans))
    assert spans[-1][-1] == windows.frames - 1


@given(any_windows())
def test_all_windows_but_the_last_share_exactly_the_overlap(windows: Windows) -> None:
    spans = [windows.frames_of(w) for w in range(windows.count)]
    shared = [len(set(a) & set(b)) for a, b in pairwise(spans)]
    assert shared[:-1] == [windows.overlap] * len(shared[:-1])
    assert all(s >= windows.overlap for s in shared)


@given(any_windows())
def test_covering_and_neighbours_agree_with_counting(windows: Windows) -> None:
    spans = [windows.frames_of(w) for w in range(windows.count)]
    for frame in range(windows.frames):
        assert list(windows.covering(frame)) == [w for w, span in enumerate(spans) if frame in span]
    for window, span in enumerate(spans):
        sharing = [w for w, other in enumerate(spans) if set(span) & set(other)]
        assert list(windows.neighbours(window)) == sharing
        assert max(abs(w - window) for w in sharing) <= windows.reach


@given(any_windows())
def test_weights_are_never_zero_and_sum_to_one(windows: Windows) -> None:
    for frame in range(windows.frames):
        weights = [windows.weight(w, frame) for w in windows.covering(frame)]
        assert min(weights) > 0
        assert sum(weights) == pytest.approx(1, abs=1e-12)


def test_a_frame_of_one_window_has_weight_one_exactly() -> None:
    assert [Windows(9, 14, 4).weight(0, frame) for frame in range(9)] == [1.0] * 9


def test_weights_are_a_triangle() -> None:
    windows = Windows(24, 14, 4)
    assert [windows.weight(1, frame) for frame in range(10, 14)] == pytest.approx([1 / 8, 3 / 8, 5 / 8, 7 / 8])


def test_the_last_window_is_right_aligned() -> None:
    assert [Windows(25, 14, 4).frames_of(w) for w in range(3)] == [range(0, 14), range(10, 24), range(11, 25)]


@pytest.mark.parametrize(
    ("frames", "size", "overlap", "said"),
    [(0, 14, 4, "frames"), (10, 0, 0, "size"), (10, 14, 14, "overlap"), (10, 14, -1, "overlap"), (99, 4, 9, "0 to 3")],
)
def test_windows_that_make_no_sense_are_refused(frames: int, size: int, overlap: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Windows(frames, size, overlap)


def test_a_window_or_frame_that_is_not_there_is_refused() -> None:
    windows = Windows(20, 14, 4)
    for ask in (lambda: windows.frames_of(2), lambda: windows.frames_of(-1), lambda: windows.covering(20)):
        with pytest.raises(IndexError, match="of"):
            ask()


@given(any_windows(), st.integers(1, 6), st.integers(1, 5), st.randoms(use_true_random=False))
def test_each_cell_is_handed_out_once_when_its_needs_are_met(
    windows: Windows, steps: int, workers: int, chance: random.Random
) -> None:
    """Whatever order the results come back in, and however many are being computed."""
    front, done, running = Wavefront(windows, steps, workers), set[Cell](), list[Cell]()
    while not front.finished:
        while len(running) < workers and (cell := front.take()) is not None:
            for other in windows.neighbours(cell.window):
                assert cell.step == 0 or Cell(other, cell.step - 1) in done
            assert cell not in done
            running.append(cell)
        assert running, "no cell can be computed, yet not all are done"
        cell = running.pop(chance.randrange(len(running)))
        front.finish(cell)
        done.add(cell)
    assert done == {Cell(w, s) for w in range(windows.count) for s in range(steps)}
    assert front.take() is None


def test_one_worker_takes_the_most_advanced_cell() -> None:
    front, order = Wavefront(Windows(4 * 10 + 4, 14, 4), 3), []
    while (cell := front.take()) is not None:
        front.finish(cell)
        order.append((cell.window, cell.step))
    assert order == [(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (3, 0), (2, 1), (1, 2), (3, 1), (2, 2), (3, 2)]


@pytest.mark.parametrize("workers", [2, 4, 8])
@pytest.mark.parametrize("overlap", [4, 10])
def test_workers_of_equal_speed_are_kept_busy(workers: int, overlap: int) -> None:
    front, rounds, cells = Wavefront(Windows(1000, 14, overlap), 10, workers), 0, 0
    while not front.finished:
        running = [cell for _ in range(workers) if (cell := front.take()) is not None]
        for cell in running:
            front.finish(cell)
        rounds += 1
        cells += len(running)
    assert cells / (rounds * workers) > 0.98


def test_a_cell_that_was_not_taken_cannot_be_finished() -> None:
    front = Wavefront(Windows(30, 14, 4), 2)
    with pytest.raises(ValueError, match="not taken"):
        front.finish(Cell(0, 0))
    cell = front.take()
    assert cell is not None
    front.finish(cell)
    with pytest.raises(ValueError, match="already finished"):
        front.finish(cell)


@pytest.mark.parametrize(("steps", "workers"), [(0, 1), (3, 0)])
def test_no_steps_and_no_workers_are_refused(steps: int, workers: int) -> None:
    with pytest.raises(ValueError, match="at least one"):
        Wavefront(Windows(30, 14, 4), steps, workers)
