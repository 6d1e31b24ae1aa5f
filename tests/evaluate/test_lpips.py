"""LPIPS against torchmetrics' with the same trunk; ranges; heads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import lpips as reference

from pipelines.evaluate.metrics.lpips import Lpips, heads_file, lpips
from pipelines.evaluate.nets.vgg import Vgg16
from pipelines.weights_error import WeightsError
from tests.evaluate.videos import moving


@pytest.fixture(scope="module")
def trunk() -> Vgg16:
    torch.manual_seed(0)
    return Vgg16().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def net(trunk: Vgg16) -> Lpips:
    path = heads_file()
    assert path is not None
    return Lpips(trunk, path)


@pytest.fixture
def theirs(trunk: Vgg16, monkeypatch: pytest.MonkeyPatch) -> Any:
    """torchmetrics' LPIPS on our trunk: its own would ask for torchvision."""
    monkeypatch.setattr(reference, "_get_tv_model_features", lambda net, pretrained=False: trunk.features)
    return reference._LPIPS(pretrained=True, net="vgg").eval()


@pytest.mark.parametrize("disco", [False, True])
def test_it_is_torchmetrics(net: Lpips, theirs: Any, disco: bool) -> None:
    a, b = moving(2, 0, (64, 48)), moving(2, 1, (64, 48))
    x, y = (torch.from_numpy(frames).permute(0, 3, 1, 2) / 255 for frames in (a, b))
    with torch.no_grad():
        expected = theirs(x, y, normalize=not disco).flatten().numpy()
    assert lpips(net, a, b, disco=disco) == pytest.approx(expected, rel=1e-4)


def test_equal_pictures_are_at_no_distance_even_where_features_vanish(net: Lpips) -> None:
    black = np.zeros((1, 32, 32, 3), np.uint8)
    assert lpips(net, black, black, disco=False) == 0


def test_the_heads_are_the_published_ones() -> None:
    from pipelines.engine.atomic import file_digest

    path = heads_file()
    assert path is not None
    assert file_digest(path) == "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868"


def test_other_heads_are_refused(trunk: Vgg16, tmp_path: Path) -> None:
    torch.save({"lin0.model.1.weight": torch.zeros(1, 64, 1, 1)}, tmp_path / "heads.pth")
    with pytest.raises(WeightsError, match=r"lin4\.model\.1\.weight"):
        Lpips(trunk, tmp_path / "heads.pth")
