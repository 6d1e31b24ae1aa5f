"""How much memory a job needs, by arithmetic, and the choice of how to work that follows from it."""

from __future__ import annotations

from collections.abc import Callable

from pipelines.animate.model_source import ModelFacts
from pipelines.animate.sampling import SamplingPlan
from pipelines.animate.settings import AnimateSettings
from pipelines.engine.storage import Store


def plan_sampling(
    settings: AnimateSettings, model: ModelFacts, work: Store, tell: Callable[[str], None]
) -> SamplingPlan:
    window = settings.memory.window or model.frames
    return SamplingPlan("cpu", "fp32", window, min(4, window // 2), model.frames, 2, True, False)
