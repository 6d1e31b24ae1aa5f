"""The ablation from data to table, small, in processes that are really killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from model.encoders import TINY, load_encoders
from pipelines.settings import BadSettings
from tests.train.small_ablation import MODEL, SETTINGS, small_ablation, write_settings
from train.ablation.__main__ import main
from train.ablation.clips import load_clips, read_clips, save_clips
from train.ablation.fit import Fitting, RunName, all_runs, fast_attention, fit
from train.ablation.run import begin, opened, run_ablation, steps_for, work
from train.ablation.variants import STRANGER, VARIANTS

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 240.0


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = begun_ablation(tmp_path_factory.mktemp("ablation") / "out")
    for run in (run for part in all_runs(SETTINGS.seeds) for run in part):
        work(out, run)
    run_ablation(out, SETTINGS)
    return out


@pytest.mark.slow
def test_the_table_has_every_variant_and_region(finished: Path) -> None:
    text = (finished / "table.md").read_text()
    for told in ("without identity", "without skeleton", "without rendering", "torso edge", "hands", "SSIM"):
        assert told in text
    found = json.loads((finished / "results.json").read_text())["found"]
    assert set(found["sigma 10"]["worse"]) == {*VARIANTS, STRANGER} - {"full"}
    assert found["sigma 10"]["worse"]["no_identity"]["face"]["windows"] == 8


@pytest.mark.slow
def test_a_finished_ablation_only_writes_its_report_again(finished: Path) -> None:
    models = {path: path.stat().st_mtime_ns for path in finished.rglob("*.safetensors")}
    before = (finished / "results.json").read_bytes()
    run_ablation(finished, SETTINGS)
    assert (finished / "results.json").read_bytes() == before
    assert models == {path: path.stat().st_mtime_ns for path in finished.rglob("*.safetensors")}


@pytest.mark.slow
def test_pictures_are_written(finished: Path) -> None:
    assert {"differences.png", "losses.png"} <= {path.name for path in finished.glob("*.png")}
    assert len(list((finished / "strips").glob("*.png"))) == 2


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    return begun_ablation(tmp_path / "out")


def begun_ablation(out: Path) -> Path:
    """Data and clips are there, nothing is trained."""
    small_ablation(out)
    begin(out, SETTINGS)
    image = load_encoders(TINY).image
    for split, windows in (("train", 1), ("test", 2)):
        clips = read_clips(out / "shards" / split, out / "films", SETTINGS.clips, windows, image, split == "test")
        save_clips(out / "clips" / f"{split}.safetensors", clips)
    return out


def losses(run: RunName, out: Path) -> list[float]:
    return np.load(run.folder(out) / "losses.npy").tolist()


def test_a_killed_run_ends_with_the_same_weights(begun: Path) -> None:
    clips = load_clips(begun / "clips" / "train.safetensors")
    run = RunName("base", 0)
    settings = replace(SETTINGS, base_steps=4)
    fit(run, begun, settings, clips)
    whole, told = (
        load_file(run.folder(begun) / "model" / "unet" / "diffusion_pytorch_model.safetensors"),
        losses(run, begun),
    )
    fitting = Fitting(run, begun, settings, torch.device("cpu"))
    with fast_attention(torch.device("cpu")):
        for step in range(2):
            fitting.step(step, clips)
    fitting.save(run.folder(begun) / "checkpoint.pt", 2)
    fit(run, begun, settings, clips)
    again = load_file(run.folder(begun) / "model" / "unet" / "diffusion_pytorch_model.safetensors")
    assert losses(run, begun) == told
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_variants_of_a_seed_start_from_equal_weights(begun: Path) -> None:
    clips = load_clips(begun / "clips" / "train.safetensors")
    fit(RunName("base", 0), begun, SETTINGS, clips)
    first = [Fitting(RunName(v, 0), begun, SETTINGS, torch.device("cpu")).model.state_dict() for v in VARIANTS[:2]]
    assert all(torch.equal(first[0][name], first[1][name]) for name in first[0])


def test_the_identity_controller_learns_at_its_own_rate(begun: Path) -> None:
    settings = replace(SETTINGS, base_steps=0, identity_rate=3.0)
    fitting = Fitting(RunName("full", 0), begun, settings, torch.device("cpu"))
    fitting.step(0, load_clips(begun / "clips" / "train.safetensors"))
    rest, identity = fitting.optimiser.param_groups
    assert identity["lr"] == pytest.approx(3 * rest["lr"])
    assert {id(p) for p in identity["params"]} == {id(p) for p in fitting.model.identity.parameters()}


@pytest.mark.slow
def test_a_killed_command_goes_on(tmp_path: Path) -> None:
    out = small_ablation(tmp_path / "out")
    config = write_settings(out, replace(SETTINGS, jobs=1))
    command = [sys.executable, "-m", "train.ablation", "--out", str(out), "--config", str(config)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
    until = time.monotonic() + PATIENCE
    while not list(out.glob("runs/full-s0/fitted.json")):
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < until, sorted(str(path) for path in out.rglob("runs/*"))
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = (out / "runs/full-s0/fitted.json").stat().st_mtime_ns
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert (out / "runs/full-s0/fitted.json").stat().st_mtime_ns == kept
    assert (out / "table.md").is_file()


def test_other_settings_are_refused_for_a_begun_folder(begun: Path) -> None:
    with pytest.raises(BadSettings, match="steps: 4 -> 5"):
        begin(begun, replace(SETTINGS, steps=5))
    begin(begun, replace(SETTINGS, jobs=7, seeds=3))


def test_steps_follow_from_minutes() -> None:
    settings = replace(SETTINGS, seeds=2, base_steps=100, steps=200)
    steps = steps_for(10, 1.0, settings, 2)
    assert steps == {"base_steps": 66, "steps": 133}
    assert 4 * steps["steps"] + steps["base_steps"] <= 600


def test_timed_steps_take_the_place_of_the_settings(begun: Path) -> None:
    (begun / "steps.json").write_text(json.dumps({"base_steps": 7, "steps": 9}))
    assert (opened(begun).base_steps, opened(begun).steps) == (7, 9)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--set", "stepz=3"], "did you mean 'steps'"),
        (["--set", "clips.stride=50"], "lower the stride"),
        (["--steps", "0"], "steps: expected 1 or more"),
        (["--set", "sampling=[1, 2]"], "levels that fall"),
        (["--set", "sigmas=[0.0]"], "above 0"),
        (["--config", "nowhere.yaml"], "there is no configuration file"),
        (["--run", "fulls0"], "expected a run such as full-s0"),
        (["--set", "model=huge"], "no model configuration huge"),
        (["--set", "clips.whole=56"], "cut out of clips.whole 56"),
        (["--set", "clips.size=56", "--set", f"model={MODEL}", "--set", "clips.whole=44"], "multiples of 8"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    more: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--out", str(tmp_path / "out"), *more]) == 1
    error = capsys.readouterr().err
    assert told in error
    assert len(error.strip().splitlines()) == 1


def test_an_out_that_is_a_file_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").write_text("")
    assert main(["--out", str(tmp_path / "out")]) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_run_is_not_scored_twice(begun: Path) -> None:
    run = RunName("base", 0)
    work(begun, run)
    scores = run.folder(begun) / "scores.npz"
    before = scores.stat().st_mtime_ns
    work(begun, run)
    assert scores.stat().st_mtime_ns == before
