"""The paper's estimators from video to shard, on nets with the published interfaces and random or simple weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.annotate.choice import MissingWeights, choose
from pipelines.annotate.estimate import EstimateStage
from pipelines.cli import main
from pipelines.shard_format import Sample, read_shard
from pipelines.stages.dwpose.providers import ProviderError
from tests.body.conformance import write_smplx_file
from tests.stages.dwpose.conformance import silhouette_yolox, standing_pose
from tests.stages.smplerx.published import write_checkpoint
from tests.video.moving_pictures import write_video

SIZE = (384, 512)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a user's, with every file of the full profile."""
    pytest.importorskip("insightface", reason="the ArcFace stage needs the extra `full`, which `dev` holds")
    from tests.stages.arcface.conformance import write_arcface, write_scrfd

    folder = tmp_path_factory.mktemp("weights")
    silhouette_yolox(folder / "yolox_l.onnx")
    standing_pose(folder / "dw-ll_ucoco_384.onnx")
    write_smplx_file(folder / "SMPLX_NEUTRAL.npz")
    write_checkpoint(folder / "smpler_x_s32.pth.tar")
    nested = folder / "antelopev2" / "antelopev2"
    nested.mkdir(parents=True)
    write_scrfd(nested / "scrfd_10g_bnkps.onnx")
    write_arcface(nested / "glintr100.onnx")
    return folder


def figure(number: int) -> np.ndarray:
    """A patterned figure on a plain ground, moving a little."""
    picture = np.full((SIZE[1], SIZE[0], 3), 30, np.uint8)
    pattern = np.random.default_rng(0).integers(120, 256, (25, 9, 3)).astype(np.uint8).repeat(16, 0).repeat(16, 1)
    x = 100 + number % 20
    picture[50:450, x : x + 144] = pattern
    return picture


@pytest.fixture
def user(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIVIDPOSE_WEIGHTS", str(weights))


@pytest.fixture(scope="module")
def samples(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    folder = tmp_path_factory.mktemp("full")
    write_video(folder / "figure.mp4", (figure(number) for number in range(24)), rate=10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIVIDPOSE_WEIGHTS", str(weights))
        # Random nets say nothing true of the figure: the decision is not what is tested here.
        loose = ["quality.max_reprojection=1e9", "quality.max_jitter=1e9", "people.cut=1e9", "estimators.device=cpu"]
        overrides = [part for setting in loose for part in ("--set", setting)]
        out = folder / "out"
        told = ["--out", str(out), "--profile", "full", "--executor", "inline", *overrides]
        assert main(["shards", str(folder / "figure.mp4"), *told]) == 0
    return [sample for shard in sorted((out / "shards").glob("*.tar")) for sample in read_shard(shard)]


def test_a_clip_goes_from_video_to_shard_through_the_papers_estimators(samples: list[Sample]):
    [sample] = samples
    names = {stage: facts["estimator"] for stage, facts in sample.meta["estimators"].items()}
    assert names == {
        "people": "yolox",
        "keypoints": "dwpose",
        "face": "arcface",
        "estimate": "smplerx",
        "body": "smplerx",
        "render": "numba",
    }


def test_the_sample_names_the_weights_it_came_from(samples: list[Sample]):
    weights = samples[0].meta["estimators"]["estimate"]["weights"]
    assert set(weights) == {"SMPLX_NEUTRAL.npz", "smpler_x_s32.pth.tar"}


def test_the_key_points_stand_upright_in_the_box(samples: list[Sample]):
    keypoints = samples[0].keypoints
    top, bottom = keypoints.boxes[5, 1], keypoints.boxes[5, 3]
    nose, ankle = keypoints.points[5, 0, 1], keypoints.points[5, 15, 1]
    assert top < nose < top + 0.2 * (bottom - top)
    assert bottom - 0.2 * (bottom - top) < ankle < bottom


def test_raw_embeddings_say_that_they_are_raw(samples: list[Sample]):
    assert samples[0].face.model == "glintr100"
    assert not samples[0].face.normalised


def test_hand_poses_are_absolute_as_in_the_lite_profile(samples: list[Sample]):
    assert samples[0].body.flat_hand_mean is True


@pytest.mark.usefixtures("user")
def test_auto_takes_what_is_there():
    assert [choice.estimator for choice in choose("auto")] == ["yolox", "dwpose", "arcface", "smplerx"]


@pytest.mark.usefixtures("user")
def test_lite_takes_nothing_of_the_users():
    assert [choice.estimator for choice in choose("lite")] == ["blazepose", "blazepose", "none", "fit"]


def shards_of(folder: Path, *settings: str) -> int:
    write_video(folder / "figure.mp4", (figure(number) for number in range(24)), rate=10)
    overrides = [part for setting in ("people.cut=1e9", *settings) for part in ("--set", setting)]
    told = ["--out", str(folder / "out"), "--executor", "inline", *overrides]
    return main(["shards", str(folder / "figure.mp4"), *told])


def test_a_truncated_net_ends_the_run_with_one_line(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    (tmp_path / "yolox_l.onnx").write_bytes((weights / "yolox_l.onnx").read_bytes()[:2000])
    monkeypatch.setenv("VIVIDPOSE_WEIGHTS", str(tmp_path))
    assert shards_of(tmp_path) == 1
    assert "yolox_l.onnx: " in capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.usefixtures("user")
def test_a_gpu_that_is_asked_for_and_absent_is_an_error(tmp_path: Path):
    stage = EstimateStage(choose("auto")[-1], "cuda", batch=1, half=False, compiled=False)
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ProviderError, match=r"estimators\.device=cpu"):
        stage._load()


def test_full_without_one_file_names_it(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for path in weights.iterdir():
        if path.name != "yolox_l.onnx":
            (tmp_path / path.name).symlink_to(path)
    monkeypatch.setenv("VIVIDPOSE_WEIGHTS", str(tmp_path))
    with pytest.raises(MissingWeights, match=r"people: yolox_l\.onnx was not found"):
        choose("full")
