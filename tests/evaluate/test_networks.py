"""The metric networks: they load the published names and shapes and nothing else, and compute what they should."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from pipelines.evaluate.nets import i3d, inception, resnet3d, vgg
from pipelines.evaluate.nets.state_dict import load_strictly
from pipelines.evaluate.nets.torchscript import TorchscriptI3d
from pipelines.weights_error import WeightsError
from tests.evaluate import weight_files
from tests.evaluate.weight_files import Shape, random_tensors

NETS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Iterator[tuple[str, Shape]]], int]] = {
    # The numbers of parameters are those of the published networks (torchvision's inception_v3 has 23,834,568 without
    # its auxiliary head and with 1000 classes, 1008 make 16,392 more; vgg16 has 14,714,688 before its classifier).
    "inception": (inception.FidInception, weight_files.inception, 23_850_960),
    "vgg": (vgg.Vgg16, weight_files.vgg16, 14_714_688),
    "i3d": (i3d.I3d, weight_files.i3d, 12_697_264),
    "resnet3d": (resnet3d.ResNet3d50, weight_files.resnet3d, 47_018_576),
}


@pytest.mark.parametrize("name", NETS)
def test_a_network_has_the_published_names_shapes_and_size(name: str) -> None:
    make, shapes, parameters = NETS[name]
    with torch.device("meta"):
        net = make()
    own = {key: tuple(value.shape) for key, value in net.state_dict().items() if not key.endswith("tracked")}
    assert own == dict(shapes())
    assert sum(p.numel() for p in net.parameters()) == parameters


@pytest.fixture
def small(tmp_path: Path) -> tuple[nn.Module, dict[str, Tensor], Path]:
    net = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))
    held = random_tensors(iter([("0.weight", (3, 2, 1, 1)), ("0.bias", (3,)), *weight_files.batch_norm("1", 3)]))
    return net, held, tmp_path / "small.pth"


def test_what_is_loaded_is_what_is_in_the_file(small: tuple[nn.Module, dict[str, Tensor], Path]) -> None:
    net, held, path = small
    torch.save(held, path)
    load_strictly(net, path)
    assert all(torch.equal(net.state_dict()[name], value) for name, value in held.items())
    assert not net.training


def test_checkpoints_of_data_parallel_training_load(small: tuple[nn.Module, dict[str, Tensor], Path]) -> None:
    net, held, path = small
    torch.save({"epoch": 3, "arch": "x", "state_dict": {f"module.{name}": value for name, value in held.items()}}, path)
    load_strictly(net, path)
    assert torch.equal(net.state_dict()["0.bias"], held["0.bias"])


def test_safetensors_load(small: tuple[nn.Module, dict[str, Tensor], Path]) -> None:
    net, held, path = small
    save_file(held, path.with_suffix(".safetensors"))
    load_strictly(net, path.with_suffix(".safetensors"))
    assert torch.equal(net.state_dict()["0.bias"], held["0.bias"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda held: held.pop("0.bias"), "0.bias is missing"),
        (lambda held: held.update(extra=torch.zeros(1)), "extra is unknown"),
        (lambda held: held.update({"0.bias": torch.zeros(4)}), r"0.bias has the shape \(4,\), expected \(3,\)"),
        (lambda held: held.update({"0.bias": torch.full((3,), torch.nan)}), "0.bias holds values that are not finite"),
    ],
)
def test_a_file_that_differs_is_refused_by_name_and_changes_nothing(
    small: tuple[nn.Module, dict[str, Tensor], Path], change: Callable[[dict[str, Tensor]], object], told: str
) -> None:
    net, held, path = small
    change(held)
    torch.save(held, path)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(WeightsError, match=told):
        load_strictly(net, path)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


class Bomb:
    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return Path.touch, (Path("exploded"),)  # type: ignore[return-value]


def test_a_pickle_that_runs_code_is_not_run(
    small: tuple[nn.Module, dict[str, Tensor], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    net, _, path = small
    monkeypatch.chdir(path.parent)
    torch.save({"state_dict": Bomb()}, path)
    with pytest.raises(WeightsError, match="plain tensors"):
        load_strictly(net, path)
    assert not Path("exploded").exists()


@pytest.mark.parametrize("content", [b"", b"not a file of weights", b"<!doctype html><html>"])
def test_a_damaged_download_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="download it again"):
        load_strictly(nn.Linear(1, 1), path)


def test_torchscript_is_refused_without_the_users_word(tmp_path: Path) -> None:
    path = tmp_path / "i3d_torchscript.pt"
    torch.jit.script(nn.Linear(1, 1)).save(path)
    with pytest.raises(WeightsError, match="runs a program from the file"):
        TorchscriptI3d(path, allowed=False)


class Stub(nn.Module):
    """Stands for stylegan-v's program: the same call, features of the right width."""

    def forward(self, x: Tensor, rescale: bool, resize: bool, return_features: bool) -> Tensor:
        scaled = x * 2 / 255 - 1 if rescale else x
        return scaled.mean((1, 2, 3, 4))[:, None].expand(-1, 400)


def test_torchscript_is_called_with_raw_levels_and_all_switches_on(tmp_path: Path) -> None:
    path = tmp_path / "i3d_torchscript.pt"
    torch.jit.script(Stub()).save(path)
    features = TorchscriptI3d(path, allowed=True)(torch.full((2, 3, 16, 8, 8), 255.0))
    assert features.shape == (2, 400)
    assert torch.allclose(features, torch.ones(()))


@pytest.mark.parametrize(("size", "kernel", "stride"), [(224, 7, 2), (112, 3, 2), (7, 3, 2), (8, 3, 1), (5, 2, 2)])
def test_same_padding_is_tensorflows(size: int, kernel: int, stride: int) -> None:
    x = torch.ones(1, 1, size, size, size)
    padded = i3d.same(x, (kernel,) * 3, (stride,) * 3)
    out = -(-size // stride)
    total = max((out - 1) * stride + kernel - size, 0)
    assert padded.shape[2:] == (size + total,) * 3
    before = total // 2
    assert torch.equal(padded[..., before : before + size, before : before + size, before : before + size], x)


def normal(x: Tensor, held: dict[str, Tensor], at: str, epsilon: float) -> Tensor:
    shape = (1, -1, 1, 1, 1)
    mean, variance, weight, bias = (held[f"{at}.{part}"].view(shape)
                                    for part in ("running_mean", "running_var", "weight", "bias"))  # fmt: skip
    return (x - mean) / torch.sqrt(variance + epsilon) * weight + bias


@pytest.mark.parametrize(("inputs", "stride"), [(16, 2), (32, 1)])
def test_a_block_of_the_3d_resnet_from_its_definition(inputs: int, stride: int) -> None:
    torch.manual_seed(0)
    block = resnet3d.Bottleneck(inputs, 8, stride).eval()
    for module in block.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean = torch.randn(module.num_features)
            module.running_var = torch.rand(module.num_features) + 1
    held = block.state_dict()
    x = torch.randn(2, inputs, 4, 6, 6)
    y = normal(F.conv3d(x, held["conv1.weight"]), held, "bn1", 1e-5)
    y = normal(F.conv3d(y.relu(), held["conv2.weight"], stride=stride, padding=1), held, "bn2", 1e-5)
    y = normal(F.conv3d(y.relu(), held["conv3.weight"]), held, "bn3", 1e-5)
    past = x
    if "downsample.0.weight" in held:
        past = normal(F.conv3d(x, held["downsample.0.weight"], stride=stride), held, "downsample.1", 1e-5)
    assert ("downsample.0.weight" in held) == (stride == 2)
    with torch.no_grad():
        assert torch.allclose(block(x), (y + past).relu(), atol=1e-5)


@pytest.mark.parametrize("epsilon", [1e-5, 1e-3])
def test_a_unit_of_i3d_normalises_with_the_protocols_epsilon(epsilon: float) -> None:
    torch.manual_seed(0)
    unit = i3d.Unit(2, 3, 3, epsilon).eval()
    unit.bn.running_var = torch.tensor([1e-3, 1e-2, 1.0])
    held = unit.state_dict()
    x = torch.randn(1, 2, 4, 5, 5)
    expected = normal(F.conv3d(x, held["conv3d.weight"], padding=1), held, "bn", epsilon).relu()
    with torch.no_grad():
        assert torch.allclose(unit(x), expected, atol=1e-4)


def test_inceptions_average_pools_do_not_count_the_padding() -> None:
    x = torch.full((1, 4, 5, 5), 3.0)
    assert torch.allclose(inception._average(x), x)


def test_only_inceptions_last_block_pools_by_maximum() -> None:
    with torch.device("meta"):
        net = inception.FidInception()
    assert net.Mixed_7c.largest
    assert not net.Mixed_7b.largest


def test_vgg_taps_are_the_last_relu_of_every_stage() -> None:
    with torch.device("meta"):
        net = vgg.Vgg16()
        maps = net(torch.zeros(1, 3, 64, 48))
    assert [tuple(m.shape[1:]) for m in maps] == [(64, 64, 48), (128, 32, 24), (256, 16, 12), (512, 8, 6), (512, 4, 3)]


@pytest.mark.parametrize(
    ("make", "shape", "width"),
    [
        (inception.FidInception, (2, 3, 299, 299), 2048),
        (i3d.I3d, (2, 3, 16, 224, 224), 400),
        (resnet3d.ResNet3d50, (2, 3, 16, 112, 112), 2048),
    ],
)
def test_the_width_of_the_features(make: Callable[[], nn.Module], shape: Shape, width: int) -> None:
    with torch.device("meta"):
        assert make().eval()(torch.zeros(shape)).shape == (2, width)
