from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pipelines.stages.arcface import ArcFace, Pack, find_pack
from pipelines.stages.arcface.zoo import ArcFaceNet, Scrfd
from pipelines.weights_error import WeightsError
from tests.stages.arcface.conformance import write_arcface, write_other, write_scrfd


def test_a_pack_s_files_are_found(pack: Pack) -> None:
    assert find_pack(pack.detector.parent) == pack


def test_a_pack_that_was_unpacked_into_itself_is_found(pack: Pack, tmp_path: Path) -> None:
    inner = tmp_path / "antelopev2" / "antelopev2"
    shutil.copytree(pack.detector.parent, inner)
    (inner / "det_10g.onnx").rename(inner / "scrfd_10g_bnkps.onnx")
    (inner / "w600k_r50.onnx").rename(inner / "glintr100.onnx")
    assert find_pack(tmp_path / "antelopev2") == Pack(inner / "scrfd_10g_bnkps.onnx", inner / "glintr100.onnx")


def test_files_of_other_names_are_told_apart_by_their_form(tmp_path: Path) -> None:
    write_other(tmp_path / "a.onnx")
    expected = Pack(write_scrfd(tmp_path / "b.onnx"), write_arcface(tmp_path / "c.onnx"))
    assert find_pack(tmp_path) == expected


def test_of_two_packs_the_files_that_lie_together_are_taken(pack: Pack, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(pack.detector.parent, tmp_path / name)
    (tmp_path / "one" / "w600k_r50.onnx").unlink()
    assert find_pack(tmp_path) == Pack(tmp_path / "two" / "det_10g.onnx", tmp_path / "two" / "w600k_r50.onnx")


def test_a_folder_without_a_recogniser_says_so(pack: Pack, tmp_path: Path) -> None:
    shutil.copy(pack.detector, tmp_path)
    with pytest.raises(WeightsError, match=r"no face recogniser here \(such as glintr100.onnx\); there are det_10g"):
        find_pack(tmp_path)


def test_an_empty_folder_says_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="expected InsightFace's antelopev2 or buffalo"):
        find_pack(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"gone\.onnx: no such file"):
        Scrfd(tmp_path / "gone.onnx", "cpu")


@pytest.mark.parametrize("keep", [0, 100, 0.5])
def test_a_truncated_file_is_refused(pack: Pack, tmp_path: Path, keep: float) -> None:
    data = pack.recogniser.read_bytes()
    (tmp_path / "cut.onnx").write_bytes(data[: int(keep * len(data)) if keep < 1 else int(keep)])
    with pytest.raises(WeightsError, match="download was cut short"):
        ArcFaceNet(tmp_path / "cut.onnx", "cpu")


def test_a_recogniser_is_no_detector(pack: Pack) -> None:
    with pytest.raises(WeightsError, match=r"expected a face detector \(SCRFD\).* a net for recognition"):
        Scrfd(pack.recogniser, "cpu")


def test_a_landmark_net_is_no_recogniser(pack: Pack) -> None:
    with pytest.raises(WeightsError, match=r"expected a face recogniser.* a net for landmark"):
        ArcFaceNet(pack.detector.parent / "2d106det.onnx", "cpu")


def test_a_detector_without_points_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no key points"):
        Scrfd(write_scrfd(tmp_path / "det.onnx", points=False), "cpu")


def test_a_recogniser_of_another_width_is_refused_for_samples(pack: Pack, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="embeddings are 128 wide, samples hold 512"):
        ArcFace(pack.detector, write_arcface(tmp_path / "mobile.onnx", width=128), "cpu")


@pytest.mark.parametrize("count", [1, 4, 5])
def test_a_graph_of_a_fixed_batch_gives_the_same_embeddings(tmp_path: Path, count: int) -> None:
    faces = list(np.random.default_rng(0).integers(0, 256, (count, 112, 112, 3), np.uint8))
    free = ArcFaceNet(write_arcface(tmp_path / "free.onnx"), "cpu").embed(faces)
    for batch in (1, 4):
        fixed = ArcFaceNet(write_arcface(tmp_path / f"fixed{batch}.onnx", batch=batch), "cpu").embed(faces)
        np.testing.assert_allclose(fixed, free, atol=1e-4)
