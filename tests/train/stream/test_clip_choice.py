"""Which frames of a clip are drawn."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.stream.clip_choice import ClipChoice, back_and_forth, choose_clip, frame_offsets, shortest_clip
from train.stream.rng import sample_rng
from train.stream.settings import ClipSettings

RATES = st.sampled_from([Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(60)])


def draw(
    clip: ClipSettings, length: int, index: int = 0, fps: Fraction = Fraction(25), seen: object = True
) -> ClipChoice:
    return choose_clip(clip, sample_rng(0, index, "clip"), length, fps, np.full(length, seen, bool))


@settings(max_examples=100, deadline=None)
@given(
    RATES, st.integers(1, 20), st.one_of(st.none(), st.floats(2, 70)), st.lists(st.integers(1, 4), min_size=1),
    st.integers(0, 50), st.integers(0, 10**6),
)  # fmt: skip
def test_a_clip_that_is_long_enough_gives_frames_inside_it(
    fps: Fraction, frames: int, rate: float | None, strides: list[int], spare: int, index: int
):
    clip = ClipSettings(frames=frames, fps=rate, strides=tuple(strides))
    length = shortest_clip(fps, clip) + spare
    choice = draw(clip, length, index, fps)
    assert len(choice.frames) == frames
    assert 0 <= min(choice.frames) <= max(choice.frames) < length
    assert all(a < b for a, b in zip(choice.frames, choice.frames[1:]))
    assert 0 <= choice.reference < length


def test_one_frame_less_is_too_short():
    clip = ClipSettings(frames=14, strides=(2,))
    assert shortest_clip(Fraction(25), clip) == 27
    assert draw(clip, 27).frames == tuple(range(0, 27, 2))


def test_every_span_of_a_clip_is_drawn():
    starts = {draw(ClipSettings(frames=5), 9, index).frames[0] for index in range(200)}
    assert starts == {0, 1, 2, 3, 4}


def test_frames_are_those_nearest_to_their_times():
    offsets, rate = frame_offsets(Fraction(30), ClipSettings(frames=6, fps=24), 1)
    assert offsets.tolist() == [0, 1, 3, 4, 5, 6]  # 0, 1.25, 2.5, 3.75, 5, 6.25
    assert rate == 24


def test_a_rate_above_the_clips_own_repeats_no_frame():
    offsets, rate = frame_offsets(Fraction(25), ClipSettings(frames=4, fps=60), 1)
    assert (offsets.tolist(), rate) == ([0, 1, 2, 3], 25)


def test_a_stride_slows_the_rate_that_is_told():
    assert frame_offsets(Fraction(30), ClipSettings(frames=4), 3)[1] == 10


def test_only_strides_that_fit_are_drawn():
    clip = ClipSettings(frames=10, strides=(1, 2, 3))
    steps = {f[1] - f[0] for f in (draw(clip, 20, index).frames for index in range(100))}
    assert steps == {1, 2}


def test_back_and_forth_shows_no_end_twice():
    assert back_and_forth(np.arange(10), 4).tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3]
    assert back_and_forth(np.arange(3), 1).tolist() == [0, 0, 0]


def test_short_clips_play_back_and_forth_when_asked():
    clip = ClipSettings(frames=14, short="ping_pong")
    frames = np.array(draw(clip, 6).frames)
    assert (np.abs(np.diff(frames)) == 1).all()
    assert set(frames) == set(range(6))
    assert shortest_clip(Fraction(25), clip) == 2


@pytest.mark.parametrize(("where", "expected"), [("anywhere", set(range(9))), ("outside", {0, 1, 7, 8})])
def test_the_reference_is_where_the_setting_says(where: str, expected: set[int]):
    clip = ClipSettings(frames=5, reference=where)  # type: ignore[arg-type]
    choices = [draw(clip, 9, index) for index in range(400)]
    assert {choice.reference for choice in choices if choice.frames[0] == 2} == expected


def test_outside_is_anywhere_when_there_is_no_other_frame():
    assert 0 <= draw(ClipSettings(frames=5, reference="outside"), 5).reference < 5


def test_the_first_frame_can_be_the_reference():
    choice = draw(ClipSettings(frames=5, reference="first"), 30, 3)
    assert choice.reference == choice.frames[0]


def test_a_frame_with_a_face_is_preferred():
    seen = np.zeros(30, bool)
    seen[[4, 9]] = True
    clip = ClipSettings(frames=5)
    references = {choose_clip(clip, sample_rng(0, i, "clip"), 30, Fraction(25), seen).reference for i in range(100)}
    assert references == {4, 9}


def test_one_setting_does_not_move_the_draws_of_another():
    plain = draw(ClipSettings(frames=5), 30, 11)
    others = draw(ClipSettings(frames=5, crop="random", flip=True), 30, 11)
    assert (plain.frames, plain.reference) == (others.frames, others.reference)
    assert (plain.crop_at, plain.flip) == (0.5, False)


def test_half_of_the_samples_are_mirrored_when_asked():
    flips = [draw(ClipSettings(frames=5, flip=True), 30, index).flip for index in range(400)]
    assert 160 < sum(flips) < 240


@pytest.mark.parametrize("wrong", [{"frames": 0}, {"size": (510, 768)}, {"fps": 0}, {"strides": ()}, {"strides": (0,)}])
def test_settings_that_make_no_sense_are_refused(wrong: dict):
    with pytest.raises(ValueError, match="must be"):
        ClipSettings(**wrong)
