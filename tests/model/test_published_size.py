"""The full size, on the meta device: counts against what was counted of the published models, and their names."""

from __future__ import annotations

import pytest
import torch

from model.config import load_config
from model.vividpose import VividPose

# One of each kind of parameter that our forward goes through: a diffusers that renames one fails here, by name.
SVD_NAMES = {
    "conv_in.weight": (320, 8, 3, 3),
    "time_embedding.linear_1.weight": (1280, 320),
    "add_embedding.linear_1.weight": (1280, 768),
    "down_blocks.0.resnets.0.spatial_res_block.norm1.weight": (320,),
    "down_blocks.0.resnets.0.spatial_res_block.conv1.weight": (320, 320, 3, 3),
    "down_blocks.0.resnets.0.spatial_res_block.time_emb_proj.weight": (320, 1280),
    "down_blocks.1.resnets.0.spatial_res_block.conv_shortcut.weight": (640, 320, 1, 1),
    "down_blocks.0.resnets.0.temporal_res_block.conv1.weight": (320, 320, 3, 1, 1),
    "down_blocks.0.resnets.0.time_mixer.mix_factor": (1,),
    "down_blocks.0.attentions.0.norm.weight": (320,),
    "down_blocks.0.attentions.0.proj_in.weight": (320, 320),
    "down_blocks.0.attentions.0.transformer_blocks.0.norm1.weight": (320,),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight": (320, 320),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0.bias": (320,),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight": (320, 1024),
    "down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj.weight": (2560, 320),
    "down_blocks.0.attentions.0.transformer_blocks.0.ff.net.2.weight": (320, 1280),
    "down_blocks.0.attentions.0.temporal_transformer_blocks.0.norm_in.weight": (320,),
    "down_blocks.0.attentions.0.temporal_transformer_blocks.0.ff_in.net.0.proj.weight": (2560, 320),
    "down_blocks.0.attentions.0.temporal_transformer_blocks.0.attn1.to_v.weight": (320, 320),
    "down_blocks.0.attentions.0.temporal_transformer_blocks.0.attn2.to_v.weight": (320, 1024),
    "down_blocks.0.attentions.0.time_pos_embed.linear_2.weight": (320, 1280),
    "down_blocks.0.attentions.0.time_mixer.mix_factor": (1,),
    "down_blocks.0.attentions.0.proj_out.weight": (320, 320),
    "down_blocks.0.downsamplers.0.conv.weight": (320, 320, 3, 3),
    "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight": (1280, 1280),
    "mid_block.resnets.1.spatial_res_block.conv2.weight": (1280, 1280, 3, 3),
    "up_blocks.0.resnets.0.spatial_res_block.conv1.weight": (1280, 2560, 3, 3),
    "up_blocks.3.attentions.2.transformer_blocks.0.attn2.to_out.0.weight": (320, 320),
    "up_blocks.2.upsamplers.0.conv.weight": (640, 640, 3, 3),
    "conv_norm_out.weight": (320,),
    "conv_out.weight": (4, 320, 3, 3),
}
SD21_NAMES = {
    "conv_in.weight": (320, 4, 3, 3),
    "time_embedding.linear_2.weight": (1280, 1280),
    "down_blocks.0.resnets.0.conv1.weight": (320, 320, 3, 3),
    "down_blocks.0.resnets.0.time_emb_proj.weight": (320, 1280),
    "down_blocks.0.attentions.0.proj_in.weight": (320, 320),
    "down_blocks.0.attentions.0.transformer_blocks.0.norm1.weight": (320,),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight": (320, 320),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_v.weight": (320, 1024),
    "down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj.weight": (2560, 320),
    "mid_block.attentions.0.proj_out.weight": (1280, 1280),
    "up_blocks.3.attentions.2.transformer_blocks.0.norm1.weight": (320,),
    "up_blocks.0.upsamplers.0.conv.weight": (1280, 1280, 3, 3),
    "conv_out.weight": (4, 320, 3, 3),
}


@pytest.fixture(scope="module")
def model() -> VividPose:
    with torch.device("meta"):
        return VividPose(load_config("vividpose"))


def millions(module: torch.nn.Module, trained_only: bool = False) -> float:
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trained_only) / 1e6


def test_the_denoising_unet_has_svds_parameters(model: VividPose) -> None:
    assert millions(model.unet) == pytest.approx(1524.6, abs=0.05)


def test_the_reference_net_has_sd21s_parameters(model: VividPose) -> None:
    assert millions(model.reference_net) == pytest.approx(865.9, abs=0.05)


def test_the_identity_adapters_have_two_projections_beside_each_of_32_cross_attentions(model: VividPose) -> None:
    assert len(model.identity.names) == 32
    assert millions(model.identity.adapters) == pytest.approx(51.1, abs=0.05)


def test_the_projector_makes_four_tokens(model: VividPose) -> None:
    assert millions(model.identity.project) + millions(model.identity.norm) == pytest.approx(4.7, abs=0.05)


def test_the_pose_encoders_are_light(model: VividPose) -> None:
    assert millions(model.pose) == pytest.approx(4.5, abs=0.1)


def test_all_parts_together(model: VividPose) -> None:
    assert millions(model) == pytest.approx(2450.9, abs=0.2)


def test_what_cannot_get_a_gradient_is_frozen(model: VividPose) -> None:
    """2.62 M behind the last feature of the ReferenceNet; its queries to a single context token, with their norms, and
    all keys of single context tokens: 12.8 M at 16 places in each of three."""
    widths = [320] * 5 + [640] * 5 + [1280] * 6
    keys, queries = 1024 * sum(widths), sum(width * width + 2 * width for width in widths)
    twice = 1024 * 320 + 320 * 320 + 2 * 320  # The last block's own are in both counts.
    expected = 2_618_244 + 3 * keys + queries - twice
    assert millions(model) - millions(model, trained_only=True) == pytest.approx(expected / 1e6, abs=1e-6)


@pytest.mark.parametrize("name", SVD_NAMES)
def test_svds_names_and_shapes(model: VividPose, name: str) -> None:
    assert tuple(model.unet.state_dict()[name].shape) == SVD_NAMES[name]


@pytest.mark.parametrize("name", SD21_NAMES)
def test_sd21s_names_and_shapes(model: VividPose, name: str) -> None:
    assert tuple(model.reference_net.state_dict()[name].shape) == SD21_NAMES[name]


def test_the_number_of_names(model: VividPose) -> None:
    assert len(model.reference_net.state_dict()) == 686
    assert len(model.unet.state_dict()) == 1428


def test_the_state_dicts_are_diffusers_own(model: VividPose) -> None:
    from diffusers import UNet2DConditionModel, UNetSpatioTemporalConditionModel

    with torch.device("meta"):
        svd = UNetSpatioTemporalConditionModel(num_attention_heads=(5, 10, 20, 20), num_frames=14)
        sd21 = UNet2DConditionModel(
            attention_head_dim=(5, 10, 20, 20), cross_attention_dim=1024, use_linear_projection=True
        )
    for stock, ours in ((svd, model.unet), (sd21, model.reference_net)):
        assert {n: p.shape for n, p in stock.state_dict().items()} == {n: p.shape for n, p in ours.state_dict().items()}


def test_the_published_heads(model: VividPose) -> None:
    """Not the class default of older diffusers, 5, 10, 10, 20."""
    heads = [stage.attentions[0].transformer_blocks[0].attn1.heads for stage in model.unet.down_blocks[:3]]
    assert heads == [5, 10, 20]
    assert model.unet.mid_block.attentions[0].transformer_blocks[0].attn1.heads == 20


def test_sixteen_blocks_pair_by_name(model: VividPose) -> None:
    names = [name for name, _ in model.reference_net.named_modules() if name.endswith(".transformer_blocks.0")]
    assert len(names) == 16
    for name in names:
        assert model.unet.get_submodule(name).norm1.weight.shape == (
            model.reference_net.get_submodule(name).norm1.weight.shape
        )
