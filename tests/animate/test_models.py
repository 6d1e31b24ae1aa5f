"""Model folders as people have them: what is wrong with one is a line, told before anything is estimated."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from model.config import load_config
from model.encoders import TINY
from model.folder import create, save_model
from model.trained_on import TrainedOn
from pipelines.animate.model_check import check_model, model_cautions, skeleton_of
from pipelines.animate.model_source import find_model
from pipelines.animate.settings import ModelSettings
from pipelines.cli import main
from pipelines.engine.setup_error import SetupError
from tests.animate.conftest import SMALL, Animate

WEIGHTS = "diffusion_pytorch_model.safetensors"
TRAINED = TrainedOn(8, (64, 96), "confidence", 8.0, (1, 2))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `train.export` writes it."""
    folder = tmp_path_factory.mktemp("models") / "model"
    save_model(create(load_config("tiny"), 0), folder, trained_on=TRAINED)
    for part in ("vae", "image_encoder", "feature_extractor"):
        shutil.copytree(TINY / part, folder / part)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(whole, tmp_path / "model"))


def found(folder: Path) -> Any:
    facts = find_model(ModelSettings(str(folder)), lambda path: path.name)
    check_model(facts)
    return facts


def change_json(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def without_a_weight(path: Path) -> None:
    weights = load_file(path)
    weights.popitem()
    save_file(weights, path)


DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda f: shutil.rmtree(f), "model_index.json is missing"),
    "empty": (lambda f: [shutil.rmtree(f), f.mkdir()], "model_index.json is missing"),
    "a file": (lambda f: [shutil.rmtree(f), f.write_text("x")], "model_index.json is missing"),
    "no part": (lambda f: shutil.rmtree(f / "pose"), "pose holds no weights"),
    "no encoders": (lambda f: shutil.rmtree(f / "image_encoder"), "has no config.json: say where with --encoders"),
    "an index of zeros": (lambda f: (f / "model_index.json").write_bytes(bytes(99)), "model_index.json is damaged"),
    "an index that is a folder": (
        lambda f: [(f / "model_index.json").unlink(), (f / "model_index.json").mkdir()],
        "model_index.json cannot be read",
    ),
    "another pipeline": (
        lambda f: change_json(f / "model_index.json", lambda d: d.update(_class_name="StableVideoDiffusionPipeline")),
        "holds a StableVideoDiffusionPipeline, expected a VividPose",
    ),
    "cut weights": (lambda f: cut(f / "unet" / WEIGHTS), "is damaged or not a safetensors file"),
    "text for weights": (lambda f: (f / "unet" / WEIGHTS).write_text("hello"), "is damaged or not a safetensors file"),
    "empty weights": (lambda f: (f / "pose" / WEIGHTS).write_bytes(b""), "is damaged or not a safetensors file"),
    "a weight is gone": (lambda f: without_a_weight(f / "identity" / WEIGHTS), "is missing"),
    "a wider config": (
        lambda f: change_json(f / "model_index.json", lambda d: d["config"]["identity"].update(tokens=7)),
        "has the shape",
    ),
    "a config of nothing": (
        lambda f: change_json(f / "model_index.json", lambda d: d.pop("config")),
        "model_index.json: config: ",
    ),
    "cut encoder": (lambda f: cut(f / "vae" / WEIGHTS), "is damaged or not a safetensors file"),
    "an encoder that cannot be": (
        lambda f: change_json(f / "vae" / "config.json", lambda d: d.update(block_out_channels=["a"])),
        "describes no network that can be made",
    ),
    "a hand-written note": (
        lambda f: change_json(f / "model_index.json", lambda d: d["trained_on"].update(size="large")),
        "trained_on is damaged",
    ),
    "a note of zeros": (
        lambda f: change_json(f / "model_index.json", lambda d: d["trained_on"].update(frames=0)),
        "numbers that cannot be",
    ),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_bad_model_folder_is_one_clear_line(folder: Path, what: str):
    damage, told = DAMAGES[what]
    damage(folder)
    with pytest.raises(SetupError) as error:
        found(folder)
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 700


def test_the_command_says_it_without_a_traceback_and_estimates_nothing(
    folder: Path, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    cut(folder / "unet" / WEIGHTS)
    job = ["--reference", str(inputs / "reference.png"), "--driving", str(inputs / "driver.mp4")]
    assert main(["animate", *job, "--out", str(tmp_path / "a.mp4"), "--model", str(folder), "--profile", "lite"]) == 1
    told = capsys.readouterr().err
    assert "error: model:" in told
    assert "Traceback" not in told
    assert not list((tmp_path / ".vividpose-animate").rglob("commits/*/*.json"))


def test_a_folder_says_what_it_was_trained_on_and_the_run_keeps_to_it(whole: Path):
    facts = found(whole)
    assert (facts.size, facts.frames, facts.trained_on) == ((64, 96), 8, TRAINED)
    assert skeleton_of("auto", facts) == "confidence"
    with pytest.raises(SetupError, match="trained with 'confidence' skeletons"):
        skeleton_of("plain", facts)


def test_a_folder_that_says_nothing_is_taken_as_it_is_set_up(folder: Path):
    change_json(folder / "model_index.json", lambda data: data.pop("trained_on"))
    facts = found(folder)
    assert facts.trained_on is None
    assert (skeleton_of("auto", facts), skeleton_of("confidence", facts)) == ("plain", "confidence")
    assert model_cautions(facts, (32, 48), 30.0) == []


@pytest.mark.parametrize(
    ("size", "fps", "keys"),
    [
        ((64, 96), 8.0, []),
        ((64, 96), 4.5, []),  # every second of eight
        ((64, 96), 24.0, ["other_fps"]),
        ((32, 48), 2.0, ["other_size", "other_fps"]),
        ((32, 48), None, ["other_size"]),
    ],
)
def test_what_a_model_was_not_trained_for_is_a_caution(
    whole: Path, size: tuple[int, int], fps: float | None, keys: list[str]
):
    assert [caution.key for caution in model_cautions(found(whole), size, fps)] == keys


@pytest.mark.slow
def test_a_job_on_such_a_folder_runs_and_its_json_has_the_cautions(whole: Path, animate: Animate, tmp_path: Path):
    told: list[str] = []
    settings = {"model": {"folder": str(whole)}}
    summary = animate(tmp_path, {"name": "a", **SMALL, "seconds": 0.3}, settings=settings, tell=told.append)
    assert [ending.status for ending in summary.endings] == ["done"], summary
    assert any("trained on 64x96, the job works at 32x48" in line for line in told)
    recipe = json.loads((tmp_path / "a.json").read_text())
    assert "other_size" in [caution["key"] for caution in recipe["cautions"]]
