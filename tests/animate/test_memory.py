"""Memory by arithmetic."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.animate.memory import GB, NoRoom, Planner, Weights, total, ways
from pipelines.animate.model_source import ModelFacts, find_model
from pipelines.animate.sampling import SamplingPlan
from pipelines.animate.settings import ModelSettings
from pipelines.engine.storage import open_store
from tests.animate.conftest import settings_from

FULL = Weights(
    unet=1_524_623_082,
    reference_net=865_910_724,
    controllers=60_000_000,
    vae=97_742_847,
    clip=632_076_800,
    channels=320,
    decoder_channels=128,
    pose_channels=320,
    latent_factor=8,
    latent_channels=4,
    reference_tokens=5500.0,
    vae_fp32=True,
)
PLAN = SamplingPlan("cuda", "bf16", 14, 4, 14, 2, True, False)
KEY = (512, 768, 25)


@pytest.fixture(scope="module")
def tiny() -> ModelFacts:
    return find_model(ModelSettings(), lambda path: "0")


def test_each_way_needs_no_more_than_the_one_before(tiny: ModelFacts):
    settings = settings_from({})
    needs = [total(FULL.need(plan, KEY)) for plan in ways(settings, replace(tiny, frames=14), "cuda", "bf16")]
    assert needs == sorted(needs, reverse=True)
    assert needs[-1] < 0.6 * needs[0]


def test_the_paper_s_size_fits_an_80_gb_card_as_it_is_and_a_16_gb_card_in_small_pieces(tiny: ModelFacts):
    settings = settings_from({})
    plans = list(ways(settings, replace(tiny, frames=14), "cuda", "bf16"))
    assert total(FULL.need(plans[0], KEY)) < 80 * GB
    assert total(FULL.need(plans[-1], KEY)) < 16 * GB


def test_more_steps_hold_more_frames_and_a_larger_picture_needs_more():
    assert total(FULL.need(PLAN, (512, 768, 50))) > total(FULL.need(PLAN, KEY))
    assert total(FULL.need(PLAN, (576, 1024, 25))) > total(FULL.need(PLAN, KEY))


def test_a_plan_once_made_is_kept_when_memory_is_scarcer(tiny: ModelFacts, tmp_path: Path, monkeypatch):
    work = open_store(tmp_path)
    told: list[str] = []
    monkeypatch.setattr("pipelines.animate.memory.free_bytes", lambda device: 8 * GB)
    first = Planner(settings_from({}), tiny, work, told.append)((64, 96), 4)
    monkeypatch.setattr("pipelines.animate.memory.free_bytes", lambda device: 0.9 * GB)
    assert Planner(settings_from({}), tiny, work, told.append)((64, 96), 4) == first
    assert any("GB" in line for line in told)


def test_what_cannot_fit_is_refused_with_what_it_would_need(tiny: ModelFacts, tmp_path: Path):
    settings = settings_from({"memory": {"budget_gb": 0.01}})
    with pytest.raises(NoRoom, match="needs at least"):
        Planner(settings, tiny, open_store(tmp_path), lambda text: None)((64, 96), 4)
