"""One typed YAML file; a key that is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from model.config import CONFIGS, BadConfig, as_data, load_config, parse_config

FULL = yaml.safe_load((CONFIGS / "vividpose.yaml").read_text())


@pytest.mark.parametrize("name", ["vividpose", "tiny"])
def test_the_configurations_load_and_round_trip(name: str) -> None:
    config = load_config(name)
    assert config.name == name
    assert parse_config(as_data(config), "again") == config


def test_sizes_that_follow(tmp_path: Path) -> None:
    config = load_config("vividpose")
    assert (config.latent_multiple, config.size_multiple, config.pose_channels) == (8, 64, 320)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**FULL, "pose": {**FULL["pose"], "injection": "latent"}}))
    assert load_config(path).pose_channels == 4


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("unet", {"in_channels": 4}, "unet.in_channels must equal twice vae.latent_channels: 4 is not 8"),
        ("unet", {"cross_attention_dim": 768}, "unet.cross_attention_dim must equal clip.width"),
        ("unet", {"heads": 5}, "unet.heads: Unexpected keyword argument"),
        ("unet", {"block_out_channels": [320, 640, 1280]}, "block_out_channels"),
        ("reference_net", {"attention_head_dim": [5, 10, 10, 20]}, "attention_head_dim must equal unet"),
        ("reference_net", {"layers_per_block": 1}, "layers_per_block must equal"),
        ("pose", {"channels": [16, 32, 96]}, "must equal vae.scale_factor: 4 is not 8"),
        ("pose", {"injection": "somewhere"}, "pose.injection"),
        ("pose", {"heads": 7}, "must be a multiple of pose.heads"),
        ("identity", {"tokens": 0}, "identity.tokens must be at least 1"),
        ("identity", {"tokens": "four"}, "identity.tokens"),
    ],
)
def test_what_does_not_fit_is_named(section: str, values: dict[str, object], message: str) -> None:
    data = {**FULL, section: {**FULL[section], **values}}
    with pytest.raises(BadConfig, match=message) as caught:
        parse_config(data, "mine.yaml")
    assert str(caught.value).startswith("mine.yaml: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="give one of ablation, tiny, vividpose, or a YAML file"):
        load_config("huge")
    with pytest.raises(BadConfig, match="no model configuration"):
        load_config(tmp_path)


@pytest.mark.parametrize("text", ["unet: [", "- 1", ""])
def test_a_file_that_is_no_configuration(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(BadConfig, match=r"mine\.yaml"):
        load_config(path)
