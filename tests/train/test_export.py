"""A checkpoint becomes a folder that animates."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from model.animator import AnimationSettings, Animator
from model.config import load_config
from model.encoders import load_encoders
from model.folder import create, load_model
from model.trained_on import TrainedOn, read_trained_on
from tests.train.runs import MODEL, Run, Small
from train.checkpoint import FragmentReader, opened
from train.export import export, main
from train.ranks import Ranks


def test_the_exported_average_animates(finished: Run, tmp_path: Path):
    export(finished.out, tmp_path / "out", "auto", "fp32")
    model = load_model(tmp_path / "out")
    reader = FragmentReader(opened(finished.out / "checkpoints" / "step-00000006", Ranks(0, 1, torch.device("cpu"))))
    state = model.state_dict()
    assert all(torch.equal(state[name], reader.whole("average", name)) for name in reader.shapes)
    animator = Animator(model, load_encoders(tmp_path / "out"))
    picture = np.zeros((48, 32, 3), np.uint8)
    frames = animator.animate(picture, [(picture, picture)] * 3, 3, settings=AnimationSettings(steps=2))
    assert [frame.shape for frame in frames] == [(48, 32, 3)] * 3


def test_live_weights_are_others_than_their_average(finished: Run, tmp_path: Path):
    for weights in ("live", "ema"):
        export(finished.out / "checkpoints" / "step-00000004", tmp_path / weights, weights, "bf16")
    live, average = (load_model(tmp_path / name).state_dict() for name in ("live", "ema"))
    assert any(not torch.equal(live[name], average[name]) for name in live)


def test_the_folder_says_what_its_clips_were_like(finished: Run, tmp_path: Path):
    export(finished.out, tmp_path / "out", "auto", "fp32")
    index = json.loads((tmp_path / "out" / "model_index.json").read_text())
    clip = opened(finished.out / "checkpoints" / "step-00000006", Ranks(0, 1, torch.device("cpu"))).manifest["settings"]
    clip = clip["data"]["clip"]
    assert read_trained_on(index, "it") == TrainedOn(
        clip["frames"], tuple(clip["size"]), clip["skeleton"], clip["fps"], tuple(clip["strides"])
    )
    assert f"{clip['size'][0]}x{clip['size'][1]}" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.slow
def test_what_does_not_train_is_exported_as_it_was_also_after_bf16(small: Small, tmp_path: Path):
    how = ("--set", "model.groups=[pose]", "--set", "engine.precision=bf16")
    for steps in (2, 3):
        run = small.start("part", *how, "--set", f"steps={steps}")
        assert run.wait() == 0, run.told
    export(run.out, tmp_path / "out", "live", "fp32")
    before, after = create(load_config(MODEL), 0).state_dict(), load_model(tmp_path / "out").state_dict()
    changed = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"pose"}


@pytest.mark.parametrize(
    ("source", "told"), [("nothing", "neither a checkpoint nor the folder of a run"), (None, "exists already")]
)
def test_what_cannot_be_exported_is_one_line(
    finished: Run, tmp_path: Path, source: str | None, told: str, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "out").mkdir()
    assert main([str(tmp_path / source if source else finished.out), str(tmp_path / "out")]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert told in lines[0]
