"""Weights out and in again, from published folders, and folders that are wrong."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel, UNetSpatioTemporalConditionModel
from safetensors.torch import load_file, save_file

from model import folder as model_folder
from model.config import as_data
from model.folder import create, from_pretrained, load_model, save_model
from model.vividpose import VividPose
from model.weight_files import BadFolder
from tests.model.clips import busy_model, inputs, noisy, tiny_config

FILE = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def model() -> VividPose:
    return busy_model().eval()


@pytest.fixture(scope="module")
def kept(model: VividPose, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "vividpose"
    save_model(model, folder, notes={"steps": "0"})
    return folder


@pytest.fixture
def folder(kept: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(kept, tmp_path / "vividpose"))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`svd/unet` and `sd21/unet`, written by diffusers itself, of the tiny size."""
    root, config = tmp_path_factory.mktemp("published"), tiny_config()
    torch.manual_seed(3)
    UNetSpatioTemporalConditionModel(**as_data(config.unet)).save_pretrained(root / "svd" / "unet")
    UNet2DConditionModel(**as_data(config.reference_net)).save_pretrained(root / "sd21" / "unet")
    return root


@pytest.fixture
def published_copy(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "published"))


def load_published(root: Path) -> VividPose:
    return from_pretrained(root / "svd", root / "sd21", tiny_config())


@torch.no_grad()
def test_saved_and_loaded_again_the_output_is_bit_equal(model: VividPose, kept: Path) -> None:
    again = load_model(kept)
    clip, (latent, c_noise) = inputs(), noisy()
    expected = model(latent, c_noise, model.conditions(clip))
    assert torch.equal(again(latent, c_noise, again.conditions(clip)), expected)
    assert again.config == model.config


def test_what_is_trainable_is_the_same_again(model: VividPose, kept: Path) -> None:
    again = dict(load_model(kept).named_parameters())
    assert {n: p.requires_grad for n, p in model.named_parameters()} == {n: p.requires_grad for n, p in again.items()}


@pytest.mark.parametrize(
    ("part", "stock"), [("unet", UNetSpatioTemporalConditionModel), ("reference_net", UNet2DConditionModel)]
)
def test_the_unets_open_in_stock_diffusers(model: VividPose, kept: Path, part: str, stock: type) -> None:
    opened = stock.from_pretrained(kept / part)  # type: ignore[attr-defined]
    ours = getattr(model, part).state_dict()
    assert all(torch.equal(tensor, ours[name]) for name, tensor in opened.state_dict().items())


def test_the_card_tells_parts_sizes_and_notes(kept: Path) -> None:
    card = (kept / "README.md").read_text()
    assert "multiples of 16 pixels" in card
    assert "* steps: 0" in card
    assert "{" not in card


def test_other_weights_in_half_precision(model: VividPose, tmp_path: Path) -> None:
    """An average over the training, as an example."""
    average = {name: torch.zeros_like(tensor) for name, tensor in model.state_dict().items()}
    save_model(model, tmp_path / "half", state=average, dtype=torch.bfloat16)
    assert load_file(tmp_path / "half" / "pose" / FILE)["skeleton.zero_out.weight"].dtype == torch.bfloat16
    again = load_model(tmp_path / "half")
    assert again.dtype == torch.float32
    assert not any(parameter.any() for parameter in again.parameters())


def test_weights_of_another_model_are_not_saved(model: VividPose, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"missing \['identity"):
        save_model(model, tmp_path / "new", state={})
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_refused_unless_told(model: VividPose, folder: Path) -> None:
    with pytest.raises(FileExistsError, match="overwrite"):
        save_model(model, folder)
    save_model(model, folder, overwrite=True, notes={"steps": "1"})
    assert "* steps: 1" in (folder / "README.md").read_text()
    assert [path.name for path in folder.parent.iterdir()] == ["vividpose"]


def test_only_a_vividpose_folder_is_overwritten(model: VividPose, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "file").touch()
    for name in ("photos", "file"):
        with pytest.raises(FileExistsError, match="not overwritten"):
            save_model(model, tmp_path / name, overwrite=True)


def _save_and_die(folder: Path) -> None:
    write, written = model_folder._write_part, []

    def dying(*arguments: Any) -> None:
        write(*arguments)
        written.append(arguments)
        if len(written) == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    model_folder._write_part = dying
    save_model(load_model(folder), folder, overwrite=True)


def test_killed_while_saving_the_old_folder_stays_whole(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    saving = multiprocessing.get_context("spawn").Process(target=_save_and_die, args=(folder,))
    saving.start()
    saving.join()
    assert saving.exitcode == -signal.SIGKILL
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert len(list(folder.parent.iterdir())) == 2  # The unfinished one lies beside it, under a hidden name.


def test_created_models_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = create(tiny_config(), 5)
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), drawn)  # The caller's random numbers were not touched.
    second, third = create(tiny_config(), 5), create(tiny_config(), 6)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.unet.conv_in.weight, third.unet.conv_in.weight)


def test_published_folders(published: Path) -> None:
    model = load_published(published)
    stock = load_file(published / "svd" / "unet" / FILE)
    assert all(torch.equal(tensor, stock[name]) for name, tensor in model.unet.state_dict().items())
    assert not model.pose.skeleton.zero_out.weight.any()
    assert not any(parameter.is_meta for parameter in model.parameters())
    assert not model.reference_net.conv_out.weight.requires_grad
    assert model.training


@torch.no_grad()
def test_published_folders_give_svd(published: Path) -> None:
    model = load_published(published).eval()
    stock = UNetSpatioTemporalConditionModel.from_pretrained(published / "svd" / "unet").eval()
    conditions = model.conditions(inputs(reference=False))
    latent, c_noise = noisy()
    sample = torch.cat([latent, conditions.image_latent[:, None].expand(-1, 3, -1, -1, -1)], dim=2)
    expected = stock(sample, c_noise, conditions.context, conditions.added_ids).sample
    assert (model(latent, c_noise, conditions) - expected).abs().max() < 1e-5


def test_half_precision_and_shards(published_copy: Path) -> None:
    expected = load_published(published_copy)
    svd, sd21 = published_copy / "svd" / "unet", published_copy / "sd21" / "unet"
    half = {name: tensor.half() for name, tensor in load_file(svd / FILE).items()}
    save_file(half, svd / "diffusion_pytorch_model.fp16.safetensors")
    (svd / FILE).unlink()
    stock = UNet2DConditionModel.from_pretrained(sd21)
    (sd21 / FILE).unlink()
    stock.save_pretrained(sd21, max_shard_size="4MB")
    assert len(list(sd21.glob("*.safetensors"))) > 1
    model = load_published(published_copy)
    assert model.dtype == torch.float32
    assert torch.equal(model.unet.conv_in.weight, expected.unet.conv_in.weight.half().float())
    assert torch.equal(model.reference_net.conv_in.weight, expected.reference_net.conv_in.weight)


def change_json(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_missing_shard_is_named(published_copy: Path) -> None:
    unet = published_copy / "sd21" / "unet"
    UNet2DConditionModel.from_pretrained(unet).save_pretrained(unet, max_shard_size="4MB")
    (unet / FILE).unlink()
    lost = sorted(unet.glob("*.safetensors"))[1]
    lost.unlink()
    with pytest.raises(BadFolder, match=rf"1 of \d shards are missing: {lost.name}"):
        load_published(published_copy)


def test_swapped_folders_are_told(published: Path) -> None:
    with pytest.raises(BadFolder, match="holds a UNet2DConditionModel, expected a UNetSpatioTemporalConditionModel"):
        from_pretrained(published / "sd21", published / "svd", tiny_config())


def test_another_number_of_heads_is_no_silent_difference(published_copy: Path) -> None:
    """The shapes are the same for any number of heads."""
    change_json(published_copy / "svd" / "unet" / "config.json", num_attention_heads=[2, 2, 4])
    with pytest.raises(BadFolder, match=r"num_attention_heads is \[2, 2, 4\], expected \[2, 3, 4\]"):
        load_published(published_copy)


def test_svd_xt_differs_only_in_its_frames(published_copy: Path) -> None:
    change_json(published_copy / "svd" / "unet" / "config.json", num_frames=25)
    load_published(published_copy)


def test_mismatched_names_and_shapes_are_listed(published_copy: Path) -> None:
    path = published_copy / "svd" / "unet" / FILE
    weights = load_file(path)
    weights["conv_in.weight"] = weights["conv_in.weight"][:, :4].contiguous()
    weights["surplus"] = weights.pop("conv_out.bias")
    save_file(weights, path)
    with pytest.raises(BadFolder) as caught:
        load_published(published_copy)
    for text in ("conv_out.bias is missing", "surplus is unknown", "(64, 4, 3, 3), expected (64, 8, 3, 3)"):
        assert text in str(caught.value)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: shutil.rmtree(folder), "model_index.json is missing"),
        (lambda folder: (folder / "model_index.json").write_text("{"), "model_index.json is damaged"),
        (lambda folder: (folder / "model_index.json").write_text("[]"), "must hold an object"),
        (lambda folder: change_json(folder / "model_index.json", _class_name="X"), "holds a X, not a VividPose"),
        (lambda folder: change_json(folder / "model_index.json", config={}), "Field required"),
        (lambda folder: cut(folder / "pose" / FILE), f"pose/{FILE} is damaged"),
        (lambda folder: (folder / "identity" / FILE).unlink(), "identity holds no weights"),
    ],
)
def test_a_wrong_folder_is_told_in_one_line(folder: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(folder)
    with pytest.raises(BadFolder, match=message) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


def test_a_pickle_is_not_opened(published_copy: Path) -> None:
    path = published_copy / "svd" / "unet" / FILE
    torch.save(load_file(path), path.with_name("diffusion_pytorch_model.bin"))
    path.unlink()
    with pytest.raises(BadFolder, match=r"holds no weights: expected diffusion_pytorch_model\.safetensors"):
        load_published(published_copy)
