"""Settings that cannot work are refused before anything is loaded, with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.settings import BadSettings, plain
from train.main import main, seconds
from train.settings import CONFIGS, BatchSettings, accumulation_steps, differences, load_settings


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_a_configuration_that_comes_along_loads_by_name_and_by_path(name: str):
    assert load_settings(name, []) == load_settings(str(CONFIGS / f"{name}.yaml"), [])


def test_the_papers_batch_is_four_passes_on_eight_gpus():
    batch = load_settings("vividpose", []).batch
    assert accumulation_steps(batch, 8) == 4
    assert accumulation_steps(batch, 1) == 32


def test_a_number_of_ranks_that_does_not_divide_the_batch_is_told():
    with pytest.raises(BadSettings, match=r"32, but 5 ranks of batch\.clips_at_once 1 take 5 clips"):
        accumulation_steps(BatchSettings(32, 1), 5)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("optimiser.leaning_rate=1", "did you mean 'learning_rate'"),
        ("engine.zero_stage=4", "zero_stage"),
        ("steps=0", "steps: wants a number above 0"),
        ("diffusion.drop=0.5", "diffusion.drop: wants a number from 0 to below 0.333"),
        ("ema.decay=1", "ema.decay"),
        ("diffusion.face_weight=0.5", "a factor of 1 or more"),
        ("model.svd=somewhere", "give either `pretrained`, or both"),
        ("data.clip.size=[30, 40]", "multiples of 8"),
    ],
)
def test_a_bad_value_is_one_line_that_names_its_setting(override: str, told: str, capsys: pytest.CaptureFixture[str]):
    assert main(["--config", "tiny", "--set", override]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert told in lines[0]


def test_a_configuration_that_is_not_there_names_those_that_are(capsys: pytest.CaptureFixture[str]):
    assert main(["--config", "tinny"]) == 1
    assert "that come along: tiny, vividpose" in capsys.readouterr().err


def test_a_change_of_settings_is_told_value_by_value():
    old, new = plain(load_settings("tiny", [])), plain(load_settings("tiny", ["steps=7", "ema.decay=0.5"]))
    assert differences(old, new) == ["ema.decay: 0.99 -> 0.5", f"steps: {old['steps']} -> 7"]


@pytest.mark.parametrize(("text", "wanted"), [("90", 90), ("30m", 1800), ("1.5h", 5400), ("1d", 86400), (None, None)])
def test_a_time_limit_is_read(text: str | None, wanted: float | None):
    assert seconds(text) == wanted


@pytest.mark.parametrize("text", ["", "h", "-3m", "soon"])
def test_a_time_limit_that_is_none_is_refused(text: str):
    with pytest.raises(BadSettings, match="--time-limit"):
        seconds(text)


def test_paths_are_paths():
    assert load_settings("tiny", ["out=x/y"]).out == Path("x/y")
