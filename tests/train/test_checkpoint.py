"""Checkpoints are complete or absent, and independent of who wrote them."""

from __future__ import annotations

import errno
import json
import shutil
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from train import checkpoint as checkpoints
from train.checkpoint import BadCheckpoint, CheckpointFailed, FragmentReader
from train.masters import Fragment, Masters
from train.ranks import Ranks
from train.settings import CheckpointSettings

ALONE = Ranks(0, 1, torch.device("cpu"))


@dataclass
class PlainEngine:
    """What `Masters` asks of an engine without ZeRO."""

    basic_optimizer: torch.optim.Optimizer
    stage: int = field(default=0)

    def zero_optimization_stage(self) -> int:
        return self.stage


def masters_of(seed: int = 0, average: bool = True) -> tuple[Masters, dict[str, nn.Parameter]]:
    generator = torch.Generator().manual_seed(seed)
    named = {
        "a.weight": nn.Parameter(torch.randn(3, 4, generator=generator)),
        "a.bias": nn.Parameter(torch.randn(3, generator=generator)),
    }
    optimiser = torch.optim.AdamW(named.values(), lr=0.1)
    masters = Masters(PlainEngine(optimiser), named, 0, 1)
    if average:
        masters.start_average()
    for _ in range(3):
        for parameter in named.values():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimiser.step()
        if average:
            masters.update_average(0.5)
    return masters, named


def meta(named: dict[str, nn.Parameter]) -> dict[str, Any]:
    return {"parameters": {name: list(p.shape) for name, p in named.items()}}


def everything(masters: Masters) -> dict[str, torch.Tensor]:
    return {f"{kind}/{f.name}": masters.tensor(kind, f).clone() for kind in masters.kinds() for f in masters.fragments}


def save(root: Path, step: int, seed: int = 0) -> Masters:
    masters, named = masters_of(seed)
    checkpoints.save(root, step, masters, meta(named), ALONE)
    return masters


def test_what_was_saved_comes_back_to_the_last_bit(tmp_path: Path):
    saved = save(tmp_path, 7)
    found, _ = checkpoints.newest(tmp_path, ALONE)
    other, _ = masters_of(seed=1)
    checkpoints.restore(FragmentReader(found), other)
    assert other.adam_step() == 3
    wanted, restored = everything(saved), everything(other)
    assert wanted.keys() == restored.keys()
    assert len(wanted) == 8
    assert all(torch.equal(wanted[name], restored[name]) for name in wanted)
    assert (tmp_path / "latest").read_text() == "step-00000007\n"


def test_a_run_that_now_keeps_an_average_starts_it_from_the_weights(tmp_path: Path):
    masters, named = masters_of(average=False)
    folder = checkpoints.save(tmp_path, 1, masters, meta(named), ALONE)
    other, _ = masters_of(seed=1)
    checkpoints.restore(FragmentReader(checkpoints.opened(folder, ALONE)), other)
    for fragment in other.fragments:
        assert torch.equal(other.tensor("average", fragment), masters.tensor("weight", fragment))


def truncate(folder: Path) -> None:
    file = next(folder.glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-1])


def flip_a_bit(folder: Path) -> None:
    file = next(folder.glob("*.safetensors"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))


def lose_a_file(folder: Path) -> None:
    next(folder.glob("*.safetensors")).unlink()


def lose_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def cut_the_manifest(folder: Path) -> None:
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text[: len(text) // 2])


def edit_the_manifest(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "adam_step": 1000}))


DAMAGES = (truncate, flip_a_bit, lose_a_file, lose_the_manifest, cut_the_manifest, edit_the_manifest)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over_with_its_reason(tmp_path: Path, damage: Any):
    save(tmp_path, 1)
    save(tmp_path, 2)
    damage(tmp_path / "step-00000002")
    found, reasons = checkpoints.newest(tmp_path, ALONE)
    assert found is not None
    assert found.step == 1
    assert len(reasons) == 1
    assert "step-00000002" in reasons[0]
    with pytest.raises(BadCheckpoint):
        checkpoints.opened(tmp_path / "step-00000002", ALONE)


def test_without_room_the_previous_checkpoint_stays_and_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    save(tmp_path, 1)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(CheckpointFailed, match="No space left"):
        save(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "step-00000001"]
    assert (tmp_path / "latest").read_text() == "step-00000001\n"


def test_what_a_killed_run_left_half_written_is_removed(tmp_path: Path):
    (tmp_path / ".step-00000003.tmp").mkdir()
    (tmp_path / ".step-00000003.tmp" / "rank-00000-of-00001.000.safetensors").write_bytes(b"half")
    checkpoints.remove_unfinished(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_policy_keeps_the_last_and_every_nth(tmp_path: Path):
    for step in range(1, 8):
        save(tmp_path, step)
        checkpoints.prune(tmp_path, CheckpointSettings(keep=2, keep_every=3))
    assert sorted(path.name for path in tmp_path.glob("step-*")) == [f"step-0000000{n}" for n in (3, 6, 7)]


def test_a_checkpoint_that_is_copied_elsewhere_is_still_whole(tmp_path: Path):
    save(tmp_path / "a", 1)
    shutil.copytree(tmp_path / "a" / "step-00000001", tmp_path / "b")
    assert checkpoints.opened(tmp_path / "b", ALONE).step == 1


@given(st.lists(st.integers(1, 29), max_size=5), st.integers(0, 29), st.integers(1, 30))
@settings(deadline=None, max_examples=30)
def test_any_run_of_elements_is_found_however_ranks_had_split_the_parameter(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], start: int, length: int
):
    folder = tmp_path_factory.mktemp("split")
    values = torch.arange(30, dtype=torch.float32)
    masters, _ = masters_of(average=False)
    masters.flats = [values]
    masters.optimiser.state.clear()
    borders = sorted({0, 30, *cuts})
    masters.fragments = [Fragment("p", a, b - a, 0, a, True) for a, b in pairwise(borders)]
    saved = checkpoints.save(folder, 1, masters, {"parameters": {"p": [5, 6]}}, ALONE)
    reader = FragmentReader(checkpoints.opened(saved, ALONE))
    length = min(length, 30 - start)
    assert torch.equal(reader.read("weight", "p", start, length), values[start : start + length])
    assert torch.equal(reader.whole("weight", "p"), values.reshape(5, 6))
    with pytest.raises(BadCheckpoint, match="lacks 1 elements"):
        reader.read("weight", "p", 29, 2)
