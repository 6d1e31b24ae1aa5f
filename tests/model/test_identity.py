"""How the identity controller begins."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from model.config import IdentityConfig
from model.identity import IdentityController


@pytest.mark.parametrize("context", [32, 1024])
def test_faces_begin_with_different_tokens(context: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        controller = IdentityController(IdentityConfig(512, 4, True, True), context, {"a": 64})
        faces = functional.normalize(torch.randn(40, 512), dim=1)
    with torch.no_grad():
        tokens = controller.norm(controller.project(faces).unflatten(1, (4, -1)))
    between = tokens.var(dim=0).mean() / tokens.square().mean()
    assert between > 0.6


def test_at_the_start_a_face_adds_nothing() -> None:
    controller = IdentityController(IdentityConfig(512, 4, True, True), 32, {"a": 64})
    _, values = controller(functional.normalize(torch.ones(2, 512), dim=1), torch.ones(2, dtype=torch.bool))["a"]
    assert not values.any()
