from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.stages.smplerx.checkpoint import load_network, read_state
from pipelines.weights_error import WeightsError
from tests.stages.smplerx.published import WIDTHS, layout


@pytest.fixture(scope="module")
def published(checkpoint: Path) -> dict[str, Any]:
    return torch.load(checkpoint, weights_only=True, mmap=True)["network"]


def changed(path: Path, published: dict[str, Any], add: dict[str, Any] | None = None, drop: str = "") -> Path:
    """The checkpoint with some entries more or fewer."""
    network = {key: value for key, value in published.items() if key != drop} | (add or {})
    torch.save({"network": network}, path)
    return path


def test_the_published_layout_loads(checkpoint: Path, published: dict[str, Any]) -> None:
    network, size = load_network(checkpoint)
    assert size.name == "s"
    root = network.state_dict()["body_regressor.root_pose_out.0.weight"]
    assert torch.equal(root, published["module.body_rotation_net.root_pose_out.0.weight"])


def test_names_after_the_renames_and_without_module_load_too(tmp_path: Path, checkpoint: Path) -> None:
    torch.save({"network": read_state(checkpoint)}, tmp_path / "mine.pth")
    assert load_network(tmp_path / "mine.pth")[1].name == "s"


def test_half_precision_weights_become_float32(tmp_path: Path, checkpoint: Path) -> None:
    halves = {name: value.half() for name, value in read_state(checkpoint).items()}
    torch.save({"network": halves}, tmp_path / "half.pth")
    network, _ = load_network(tmp_path / "half.pth")
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_smplx_itself_in_a_snapshot_is_passed_over(tmp_path: Path, published: dict[str, Any]) -> None:
    path = changed(tmp_path / "a.pth", published, {"module.smplx_layer.v_template": torch.zeros(10475, 3)})
    load_network(path)


def test_a_missing_key_is_named(tmp_path: Path, published: dict[str, Any]) -> None:
    path = changed(tmp_path / "a.pth", published, drop="module.hand_rotation_net.hand_conv.1.running_var")
    with pytest.raises(WeightsError, match=r"missing: hand_regressor\.hand_conv\.1\.running_var"):
        load_network(path)


def test_an_unexpected_key_is_named(tmp_path: Path, published: dict[str, Any]) -> None:
    path = changed(tmp_path / "a.pth", published, {"module.lens.weight": torch.zeros(1)})
    with pytest.raises(WeightsError, match=r"unexpected: lens\.weight"):
        load_network(path)


def test_a_tensor_of_another_shape_is_named(tmp_path: Path, published: dict[str, Any]) -> None:
    path = changed(tmp_path / "a.pth", published, {"module.face_regressor.expr_out.0.weight": torch.zeros(50, 384)})
    with pytest.raises(WeightsError, match=r"face_regressor\.expr_out\.0\.weight is \(50, 384\), expected \(10, 384\)"):
        load_network(path)


def test_a_name_of_another_size_is_told_apart(tmp_path: Path, checkpoint: Path) -> None:
    shutil.copy(checkpoint, tmp_path / "smpler_x_h32.pth.tar")
    with pytest.raises(WeightsError, match=r"expected smpler_x_h32.*seems to be smpler_x_s32.pth.tar \(width 384"):
        load_network(tmp_path / "smpler_x_h32.pth.tar")


def test_a_size_that_is_asked_for_and_is_not_there_is_told(checkpoint: Path) -> None:
    with pytest.raises(WeightsError, match=r"expected smpler_x_b32.*seems to be smpler_x_s32"):
        load_network(checkpoint, "b")


def test_every_size_is_recognised_by_its_weights(tmp_path: Path) -> None:
    with torch.device("meta"):
        state = {name: torch.empty(shape) for name, shape in layout(*WIDTHS["l"]).items() if "backbone" in name}
    small = {"module." + name: torch.zeros(1).expand(value.shape) for name, value in state.items()}
    torch.save({"network": small}, tmp_path / "smpler_x_b32.pth.tar")
    with pytest.raises(WeightsError, match=r"seems to be smpler_x_l32.pth.tar \(width 1024, 24 blocks\)"):
        load_network(tmp_path / "smpler_x_b32.pth.tar")


def test_a_network_of_no_known_size_is_told(tmp_path: Path) -> None:
    torch.save({"network": {"module.backbone.pos_embed": torch.zeros(1, 193, 192)}}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="width 192 and 0 blocks are none of SMPLer-X's sizes"):
        load_network(tmp_path / "a.pth")


def test_another_checkpoint_is_told(tmp_path: Path) -> None:
    torch.save({"network": {"conv1.weight": torch.zeros(1)}}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"no SMPLer-X checkpoint; it has conv1\.weight"):
        load_network(tmp_path / "a.pth")


def test_a_checkpoint_without_a_network_is_told(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="the entry 'network', found: state_dict"):
        load_network(tmp_path / "a.pth")


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("form", ["torch", "pickle"])
def test_a_file_that_would_run_a_program_is_refused_unopened(tmp_path: Path, form: str) -> None:
    path, trace = tmp_path / "bomb.pth", tmp_path / "trace"
    if form == "torch":
        torch.save({"network": {"module.x": Bomb(trace)}}, path)
    else:
        path.write_bytes(pickle.dumps({"network": Bomb(trace)}))
    with pytest.raises(WeightsError, match="was not opened"):
        load_network(path)
    assert not trace.exists()


@pytest.mark.parametrize("share", [0.0, 0.00001, 0.3, 0.999])
def test_a_truncated_file_is_told(tmp_path: Path, checkpoint: Path, share: float) -> None:
    cut = tmp_path / "smpler_x_s32.pth.tar"
    with checkpoint.open("rb") as whole:
        cut.write_bytes(whole.read(int(share * checkpoint.stat().st_size)))
    with pytest.raises(WeightsError, match=r"truncated or damaged|was not opened"):
        load_network(cut)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file; `vividpose weights`"):
        load_network(tmp_path / "smpler_x_h32.pth.tar")
