from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from pipelines.stages.smplerx.checkpoint import load_network, renamed
from pipelines.stages.smplerx.crop import crop_of
from pipelines.stages.smplerx.network import Estimate, Network
from pipelines.stages.smplerx.vit import SIZES
from tests.stages.smplerx.published import PUBLISHED_MILLIONS, WIDTHS, layout, waves

PUBLIC = Path(__file__).parent / "data" / "public_code.npz"


def on_meta(size: str) -> Network:
    with torch.device("meta"):
        return Network(SIZES[size])


@pytest.mark.parametrize("size", SIZES)
def test_parameter_totals_are_the_published_ones(size: str) -> None:
    network = on_meta(size)
    encoder = sum(parameter.numel() for parameter in network.encoder.parameters()) / 1e6
    total = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    published_encoder, published_total = PUBLISHED_MILLIONS[size]
    assert encoder == pytest.approx(published_encoder, abs=0.005)
    assert round(total) == published_total


@pytest.mark.parametrize("size", SIZES)
def test_names_and_shapes_are_the_published_ones(size: str) -> None:
    ours = {name: tuple(tensor.shape) for name, tensor in on_meta(size).state_dict().items()}
    assert ours == {renamed(name): shape for name, shape in layout(*WIDTHS[size]).items()}


@pytest.fixture(scope="module")
def network(checkpoint: Path) -> Network:
    return load_network(checkpoint)[0]


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    """The crop that the public code was given when its values were recorded."""
    with np.load(PUBLIC) as public:
        crop = crop_of(public["box"], (500, 700))
    assert crop is not None
    return torch.from_numpy(crop.cut(waves(500, 700))).permute(2, 0, 1)[None]


@pytest.fixture(scope="module")
def estimate(network: Network, image: torch.Tensor) -> Estimate:
    with torch.inference_mode():
        return network(image)


ROTATIONS = ("global_orient", "body_pose", "left_hand_pose", "right_hand_pose", "jaw_pose")


@pytest.mark.parametrize("name", ROTATIONS)
def test_rotations_are_those_of_the_public_code(estimate: Estimate, name: str) -> None:
    """Recorded once with SMPLer-X's own classes for the same random weights and the same picture."""
    ours = Rotation.from_matrix(getattr(estimate, name)[0].reshape(-1, 3, 3).double().numpy())
    with np.load(PUBLIC) as public:
        theirs = Rotation.from_rotvec(public[name].reshape(-1, 3))
    assert (ours * theirs.inv()).magnitude().max() < 1e-3


@pytest.mark.parametrize(("name", "scale"), [("betas", 1), ("expression", 1), ("cam_trans", 1), ("boxes", 2)])
def test_values_are_those_of_the_public_code(estimate: Estimate, name: str, scale: float) -> None:
    """The public code gives its boxes in pixels of the 512x384 patch."""
    with np.load(PUBLIC) as public:
        np.testing.assert_allclose(getattr(estimate, name)[0].numpy() * scale, public[name], atol=2e-3)


def test_a_batch_gives_what_its_pictures_give_alone(network: Network, image: torch.Tensor) -> None:
    """Three: the number at which the public code's cross product goes along the wrong axis."""
    pictures = torch.cat([image, image.flip(3), image.flip(2)])
    with torch.inference_mode():
        together = network(pictures)
        alone = [network(picture[None]) for picture in pictures]
    for name in (*ROTATIONS, "betas", "expression", "cam_trans", "boxes"):
        separate = torch.cat([getattr(one, name) for one in alone])
        np.testing.assert_allclose(getattr(together, name), separate, atol=1e-3)


def test_bfloat16_turns_joints_by_a_few_degrees_at_most(
    checkpoint: Path, image: torch.Tensor, estimate: Estimate
) -> None:
    network = load_network(checkpoint)[0].heavy_in(torch.bfloat16)
    with torch.inference_mode():
        rough = network(image)
    assert rough.body_pose.dtype == torch.float32
    both = [Rotation.from_matrix(one.body_pose[0].double().numpy()) for one in (rough, estimate)]
    # Random weights make a far rougher function of the features than trained ones.
    assert np.degrees((both[0] * both[1].inv()).magnitude()).mean() < 5


def test_a_picture_of_another_size_is_refused(network: Network) -> None:
    with pytest.raises(ValueError, match=r"expected \(N, 3, 256, 192\), got \(1, 3, 512, 384\)"):
        network(torch.zeros(1, 3, 512, 384))


@pytest.mark.slow
def test_compiling_changes_nothing(network: Network, image: torch.Tensor, estimate: Estimate) -> None:
    with torch.inference_mode():
        compiled = torch.compile(network)(image)
    np.testing.assert_allclose(compiled.body_pose, estimate.body_pose, atol=1e-3)
