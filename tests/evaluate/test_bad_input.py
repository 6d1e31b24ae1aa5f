"""What cannot be compared is refused by name; nothing is dropped, resized or guessed."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.evaluate.availability import look
from pipelines.evaluate.measure import Measured, Measurer
from pipelines.evaluate.pairs import match
from pipelines.evaluate.protocols import UnknownMeasure, chosen
from pipelines.evaluate.run import BadRequest, Request, evaluate
from pipelines.evaluate.sources import BadInput, find_videos, frames_of
from pipelines.video.encode import encode_clip
from tests.evaluate.videos import moving, write_frames, write_set


def measured(generated: Path, truth: Path, *, constant: bool = False) -> Measured:
    measures = chosen(("corrected",), ("l1",))
    [pair] = match(generated, truth).pairs
    return Measurer(measures, look(measures), "cpu", allow_constant=constant)(pair)


def test_names_that_only_one_side_has_are_all_told(tmp_path: Path) -> None:
    ours, theirs = write_set(tmp_path, {"a": 3, "b": 3})
    write_frames(ours / "only_ours", moving(3))
    write_frames(theirs / "only_theirs", moving(3))
    with pytest.raises(BadInput) as caught:
        match(ours, theirs)
    assert "only_ours" in str(caught.value)
    assert "only_theirs" in str(caught.value)


def test_different_lengths_are_told_with_both_numbers(tmp_path: Path) -> None:
    ours, theirs = write_set(tmp_path, {"a": 3, "b": 4})
    (ours / "b" / "3.png").unlink()
    with pytest.raises(BadInput, match=r"generated/b: 3 frames, .*truth/b has 4"):
        match(ours, theirs)


def test_different_sizes_are_told_and_not_resized(tmp_path: Path) -> None:
    ours, theirs = write_set(tmp_path, {"a": 3})
    write_frames(ours / "a", moving(3, size=(64, 64)))
    with pytest.raises(BadInput, match=r"generated/a: 64 x 64, .*truth/a has 48 x 40"):
        match(ours, theirs)


def test_the_users_size_resizes_both_and_every_number_says_so(tmp_path: Path) -> None:
    ours, theirs = write_set(tmp_path, {"a": 3})
    write_frames(ours / "a", moving(3, size=(64, 64)))
    done = evaluate(Request(ours, theirs, tmp_path / "out", metrics=("l1",), size=(32, 24)))
    assert all(number.size == (32, 24) and "both sides" in number.resize for number in done.numbers)


def test_a_frame_of_another_size_inside_a_video_is_told(tmp_path: Path) -> None:
    ours, theirs = write_set(tmp_path, {"a": 3})
    Image.fromarray(moving(1, size=(50, 40))[0]).save(ours / "a" / "1.png")
    with pytest.raises(BadInput, match=r"a/1\.png: 50 x 40, the first frame has 48 x 40"):
        match(ours, theirs)


def test_a_single_frame_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="generated/a: a single frame is no video"):
        match(*write_set(tmp_path, {"a": 1}))


def test_pictures_too_small_for_the_metrics_are_told(tmp_path: Path) -> None:
    for side in ("generated", "truth"):
        write_frames(tmp_path / side / "a", moving(3, size=(12, 40)))
    with pytest.raises(BadInput, match="at least 16 pixels"):
        match(tmp_path / "generated", tmp_path / "truth")


@pytest.mark.parametrize("side", ["generated", "truth"])
def test_a_video_whose_frames_are_all_equal_is_refused(tmp_path: Path, side: str) -> None:
    ours, theirs = write_set(tmp_path, {"a": 3})
    write_frames(tmp_path / side / "a", np.repeat(moving(1), 3, axis=0))
    with pytest.raises(BadInput, match=rf"{side}/a: all frames are equal"):
        measured(ours, theirs)
    assert measured(ours, theirs, constant=True).frames == 3


def test_an_empty_folder_and_one_that_is_not_there_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="empty: holds no videos"):
        find_videos(tmp_path / "empty")
    with pytest.raises(BadInput, match="nowhere: there is no such folder"):
        find_videos(tmp_path / "nowhere")


@pytest.mark.parametrize(("value", "told"), [(np.nan, "not finite"), (np.inf, "not finite"), (7.0, r"0\.\.1 expected")])
def test_values_of_float_frames_are_checked(tmp_path: Path, value: float, told: str) -> None:
    frames = moving(3).astype(np.float32) / 255
    frames[1, 2, 3, 0] = value
    np.save(tmp_path / "a.npy", frames)
    [video], _ = find_videos(tmp_path)
    with pytest.raises(BadInput, match=rf"a\.npy: frame 1 .*{told}"):
        list(frames_of(video))


def test_an_array_that_would_run_code_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object), allow_pickle=True)
    [video], _ = find_videos(tmp_path)
    with pytest.raises(BadInput, match=r"a\.npy"):
        list(frames_of(video))


def test_a_damaged_picture_is_told(tmp_path: Path) -> None:
    ours, theirs = write_set(tmp_path, {"a": 3})
    path = ours / "a" / "1.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(BadInput, match=r"a/1\.png"):
        measured(ours, theirs)


def test_transparency_and_more_than_eight_bits_are_told(tmp_path: Path) -> None:
    write_frames(tmp_path / "a", moving(2))
    Image.fromarray(np.dstack([moving(1)[0], np.full((40, 48), 7, np.uint8)])).save(tmp_path / "a" / "1.png")
    [video], _ = find_videos(tmp_path)
    with pytest.raises(BadInput, match="partly transparent"):
        list(frames_of(video))
    Image.fromarray(np.full((40, 48), 3000, np.uint16)).save(tmp_path / "a" / "1.png")
    with pytest.raises(BadInput, match="eight-bit"):
        list(frames_of(video))


def test_gifs_are_refused_because_of_their_colours(tmp_path: Path) -> None:
    Image.fromarray(moving(1)[0]).save(tmp_path / "a.gif")
    with pytest.raises(BadInput, match="256 colours"):
        find_videos(tmp_path)


def test_two_videos_of_one_name_are_refused(tmp_path: Path) -> None:
    write_frames(tmp_path / "a", moving(2))
    np.save(tmp_path / "a.npy", moving(2))
    with pytest.raises(BadInput, match="two videos are named 'a'"):
        find_videos(tmp_path)


def test_a_truncated_mp4_is_told(tmp_path: Path) -> None:
    for side in ("generated", "truth"):
        (tmp_path / side).mkdir()
        encode_clip(tmp_path / side / "a.mp4", moving(30), Fraction(25))
    path = tmp_path / "generated" / "a.mp4"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(BadInput, match=r"a\.mp4"):
        match(tmp_path / "generated", tmp_path / "truth")


def test_other_files_are_named_in_the_notes(tmp_path: Path) -> None:
    ours, theirs = write_set(tmp_path, {"a": 2})
    (ours / "readme.txt").write_text("x")
    assert any("readme.txt" in note for note in match(ours, theirs).notes)


def test_frames_sort_as_numbers(tmp_path: Path) -> None:
    write_frames(tmp_path / "a", moving(12))
    [video], _ = find_videos(tmp_path)
    assert [Path(path).stem for path in video.files] == [str(number) for number in range(12)]


def test_discos_flat_folders_are_taken_apart_into_videos(tmp_path: Path) -> None:
    for name, count in (("TiktokDance_00337", 3), ("TiktokDance_00338", 2)):
        for number, frame in enumerate(moving(count)):
            Image.fromarray(frame).save(tmp_path / f"{name}_{number:04d}.png")
    videos, _ = find_videos(tmp_path)
    assert [(v.name, len(v.files)) for v in videos] == [("TiktokDance_00337", 3), ("TiktokDance_00338", 2)]


def test_every_frame_of_an_mp4_is_read_once_and_close_to_what_was_written(tmp_path: Path) -> None:
    # Grey: the colours of neighbouring pixels are not kept apart in 4:2:0.
    frames = np.repeat(moving(21, size=(64, 48))[..., :1], 3, axis=3)
    encode_clip(tmp_path / "a.mp4", frames, Fraction(24), crf=4)
    [video], _ = find_videos(tmp_path)
    read = np.stack(list(frames_of(video)))
    assert read.shape == frames.shape
    assert np.abs(read.astype(int) - frames).mean() < 1.5


def test_a_foreign_folder_is_not_written_into(tmp_path: Path) -> None:
    ours, theirs = write_set(tmp_path, {"a": 2})
    with pytest.raises(BadRequest, match="other things"):
        evaluate(Request(ours, theirs, theirs, metrics=("l1",)))


def test_the_work_folder_of_another_command_is_not_taken_for_ours(tmp_path: Path) -> None:
    ours, theirs = write_set(tmp_path / "set", {"a": 3})
    kept = tmp_path / "out" / "work" / "ledger"
    kept.mkdir(parents=True)
    with pytest.raises(BadRequest, match="other things"):
        evaluate(Request(ours, theirs, tmp_path / "out", metrics=("l1",)))
    assert kept.is_dir()


def test_an_evaluation_can_be_made_again_in_its_folder(tmp_path: Path) -> None:
    ours, theirs = write_set(tmp_path / "set", {"a": 3})
    request = Request(ours, theirs, tmp_path / "out", metrics=("l1",))
    first, second = evaluate(request).numbers, evaluate(request).numbers
    assert first == second


def test_frames_right_in_both_folders_are_one_video(tmp_path: Path) -> None:
    write_frames(tmp_path / "results", moving(3, noise=5))
    write_frames(tmp_path / "truth", moving(3))
    [pair] = match(tmp_path / "results", tmp_path / "truth").pairs
    assert pair.frames == 3


def test_two_equally_truncated_videos_are_still_told(tmp_path: Path) -> None:
    for side in ("generated", "truth"):
        (tmp_path / side).mkdir()
        encode_clip(tmp_path / side / "a.mp4", moving(60, noise=40), Fraction(25))
        path = tmp_path / side / "a.mp4"
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadInput, match=r"a\.mp4: cut short: \d+ of the 60 frames"):
        match(tmp_path / "generated", tmp_path / "truth")


def test_unknown_metrics_and_protocols_are_told() -> None:
    with pytest.raises(UnknownMeasure, match="no metric 'fvdd'"):
        chosen(("disco",), ("fvdd",))
    with pytest.raises(UnknownMeasure, match="no protocol 'old'"):
        chosen(("old",))
    with pytest.raises(UnknownMeasure, match="no metric of kid exists under disco"):
        chosen(("disco",), ("kid",))
