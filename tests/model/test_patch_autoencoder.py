"""The patch transform that stands for a VAE where none is trained."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch

from model.patch_autoencoder import PatchAutoencoder, patch_basis
from model.vae import Vae


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_its_basis_is_orthonormal(factor: int) -> None:
    rows = patch_basis(factor).flatten(1)
    assert torch.allclose(rows @ rows.T, torch.eye(3 * factor**2), atol=1e-5)


def test_with_all_channels_nothing_is_lost() -> None:
    pictures = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    vae = Vae(cast(Any, PatchAutoencoder(4, 48, 1.7)))
    moments = vae.encode(pictures)
    assert (vae.factor, vae.channels, tuple(moments.mean.shape)) == (4, 48, (2, 48, 4, 6))
    assert torch.allclose(vae.decode(vae.scaled(moments.mode())), pictures, atol=1e-5)


def test_an_error_of_the_latents_is_the_same_error_of_the_pixels() -> None:
    net = PatchAutoencoder(4, 12, 1.0)
    error = torch.randn(1, 12, 4, 4, generator=torch.Generator().manual_seed(0))
    assert net.decode(error, 1).sample.square().sum() == pytest.approx(float(error.square().sum()), rel=1e-5)


def test_a_flat_colour_needs_only_the_coarsest_channels() -> None:
    flat = torch.tensor([0.3, -0.5, 0.8]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    net = PatchAutoencoder(4, 5, 1.0)
    assert torch.allclose(net.decode(net.encode(flat).latent_dist.mean, 1).sample, flat, atol=1e-5)


@pytest.mark.parametrize(
    ("factor", "channels", "told"), [(3, 4, "power of two"), (4, 49, "1 to 48"), (2, 0, "1 to 12")]
)
def test_what_cannot_be_is_refused(factor: int, channels: int, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        PatchAutoencoder(factor, channels, 1.0)
