"""The animator: equal to diffusers' pipeline without controllers, flat memory, what is refused and with which words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import diffusers.pipelines.stable_video_diffusion.pipeline_stable_video_diffusion as stock
import numpy as np
import psutil
import pytest
import torch
from diffusers import EulerDiscreteScheduler, UNetSpatioTemporalConditionModel
from PIL import Image
from transformers import CLIPImageProcessorPil

from model.animator import AnimationSettings, Animator
from model.config import load_config
from model.encoders import TINY, Encoders, load_encoders
from model.folder import create
from model.guidance import Guidance
from model.input_check import BadInput
from model.noise import CONDITION_IMAGE, FrameNoise
from model.pose_features import PoseMaps
from model.vae import DecodeWindow
from model.vividpose import VividPose

WIDTH, HEIGHT = 32, 48
SVD_SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "interpolation_type": "linear",
    "prediction_type": "v_prediction",
    "sigma_min": 0.002,
    "sigma_max": 700.0,
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "timestep_type": "continuous",
    "use_karras_sigmas": True,
}


@pytest.fixture(scope="module")
def encoders() -> Encoders:
    return load_encoders(TINY)


@pytest.fixture(scope="module")
def model() -> VividPose:
    """With controllers that have an effect, as after training."""
    model = create(load_config("tiny"), 0).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith(("identity.", "pose.")) and not parameter.any():
                parameter.normal_(0, 0.05, generator=generator)
    return model


@pytest.fixture(scope="module")
def animator(model: VividPose, encoders: Encoders) -> Animator:
    return Animator(model, encoders)


def picture(seed: int) -> np.ndarray:
    """Smooth, so that uint8 and resizing are as in photographs."""
    small = np.random.default_rng(seed).integers(0, 255, (6, 4, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(small).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


def poses(count: int) -> Iterator[PoseMaps]:
    for frame in range(count):
        yield picture(100 + frame % 7), picture(200 + frame % 5)


FACE = np.random.default_rng(5).normal(size=512)
FAST = AnimationSettings(steps=2, window=4, overlap=1, decode=DecodeWindow(4, 1))


def video(animator: Animator, count: int, settings: AnimationSettings = FAST, face: np.ndarray | None = FACE):
    return np.stack(list(animator.animate(picture(0), poses(count), count, face, settings)))


def stock_pipeline(model: VividPose, encoders: Encoders) -> stock.StableVideoDiffusionPipeline:
    unet = UNetSpatioTemporalConditionModel.from_config(dict(model.unet.config))
    unet.load_state_dict(model.unet.state_dict())
    pipeline = stock.StableVideoDiffusionPipeline(
        vae=encoders.vae.net,
        image_encoder=encoders.image.net,
        unet=unet.eval(),
        scheduler=EulerDiscreteScheduler(**SVD_SCHEDULER),
        feature_extractor=CLIPImageProcessorPil(),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.parametrize("noise_aug", [0.02, 0.3])
def test_without_controllers_it_is_diffusers_pipeline(
    model: VividPose, encoders: Encoders, monkeypatch: pytest.MonkeyPatch, noise_aug: float
) -> None:
    """Same weights, and the pipeline is handed the animator's noise: a generator per frame is the only difference of
    what the two do."""
    frames, seed = 6, 3
    latents = FrameNoise((seed,), (4, HEIGHT // 4, WIDTH // 4))
    image_noise = FrameNoise((seed,), (3, HEIGHT, WIDTH))(CONDITION_IMAGE)
    monkeypatch.setattr(stock, "randn_tensor", lambda shape, **_: image_noise)
    expected = stock_pipeline(model, encoders)(
        Image.fromarray(picture(0)),
        height=HEIGHT,
        width=WIDTH,
        num_frames=frames,
        num_inference_steps=4,
        noise_aug_strength=noise_aug,
        latents=torch.stack([latents(frame) for frame in range(frames)], dim=1),
        output_type="np",
    ).frames[0]
    settings = AnimationSettings(steps=4, window=frames, seed=seed, noise_aug=noise_aug)
    ours = list(Animator(model, encoders).animate(picture(0), None, frames, None, settings, appearance=False))
    for mine, theirs in zip(ours, expected, strict=True):
        assert np.abs(mine - theirs * 255).max() <= 0.5 + 0.02  # half a level from rounding to uint8


def test_the_same_seed_gives_the_same_video_and_another_another(animator: Animator) -> None:
    first = video(animator, 3)
    assert (first == video(animator, 3)).all()
    assert (first != video(animator, 3, replace(FAST, seed=1))).any()


def test_each_condition_has_a_say(animator: Animator) -> None:
    one = replace(FAST, guidance=Guidance(1, 1))
    usual = video(animator, 2, one)
    assert (usual != video(animator, 2, one, face=None)).any()
    assert (usual != video(animator, 2, one, face=-FACE)).any()
    assert (usual != video(animator, 2, replace(one, fps=25))).any()
    for kind in range(2):
        other = [tuple(255 - m if place == kind else m for place, m in enumerate(maps)) for maps in poses(2)]
        assert (usual != list(animator.animate(picture(0), other, 2, FACE, one))).any()
    assert (usual != list(animator.animate(picture(0), poses(2), 2, FACE, one, appearance=False))).any()


def test_the_length_of_the_face_vector_does_not_matter(animator: Animator) -> None:
    assert (video(animator, 1) == video(animator, 1, face=4 * FACE)).all()


def test_halves_of_the_guidance_one_after_the_other_are_the_same(animator: Animator) -> None:
    together, apart = (video(animator, 3, replace(FAST, batched_guidance=b)).astype(int) for b in (True, False))
    assert np.abs(together - apart).max() <= 1


def test_windows_on_two_replicas_give_the_same_video(model: VividPose, encoders: Encoders) -> None:
    alone, both = Animator(model, encoders), Animator(model, encoders, replicas=[model])
    assert (video(alone, 11) == video(both, 11)).all()


def test_poses_are_read_only_as_far_ahead_as_the_wave_front_reaches(animator: Animator) -> None:
    def read_before_the_first_frame(count: int) -> int:
        taken = 0

        def counted() -> Iterator[PoseMaps]:
            nonlocal taken
            for maps in poses(count):
                taken += 1
                yield maps

        next(animator.animate(picture(0), counted(), count, FACE, FAST))
        return taken

    assert read_before_the_first_frame(24) == read_before_the_first_frame(48) < 16


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(animator: Animator) -> None:
    process = psutil.Process()

    def peak(count: int) -> float:
        """MB, while `count` frames come and go."""
        frames = animator.animate(picture(0), poses(count), count, FACE, replace(FAST, steps=1))
        return max(process.memory_info().rss for _ in frames) / 1e6

    peak(14)
    assert peak(140) < peak(14) + 10


def test_the_caller_keeps_its_gradient_mode_between_frames(animator: Animator) -> None:
    for _ in animator.animate(picture(0), poses(2), 2, FACE, FAST):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()


def test_parts_that_are_needed_once_go_back_where_they_were(model: VividPose, encoders: Encoders) -> None:
    """Only the CPU is here: what is seen is that nothing stays behind."""
    list(Animator(model, encoders).animate(picture(0), None, 1, FACE, FAST))
    assert {p.device.type for p in (*model.parameters(), *encoders.image.net.parameters())} == {"cpu"}


def test_progress_counts_every_window_at_every_level(animator: Animator) -> None:
    told: list[tuple[int, int]] = []
    list(animator.animate(picture(0), None, 7, None, FAST, progress=lambda done, total: told.append((done, total))))
    assert told == [(n + 1, 4) for n in range(4)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"reference": picture(0)[:40]}, "multiples of 16 pixels, not 32x40"),
        ({"reference": picture(0).astype(np.float32)}, "uint8"),
        ({"face": np.zeros(512)}, "None where no face"),
        ({"face": np.full(512, np.nan)}, "not finite"),
        ({"face": np.ones(128)}, r"\(128,\), expected \(512,\)"),
        ({"frames": 0}, "frames must be at least 1"),
        ({"settings": AnimationSettings(window=4, overlap=4)}, "overlap"),
        ({"settings": AnimationSettings(steps=0)}, "at least one step"),
        ({"settings": AnimationSettings(seed=-1)}, "seed"),
        ({"settings": AnimationSettings(noise_aug=float("nan"))}, "finite"),
    ],
)
def test_what_cannot_be_animated_is_refused_at_once(animator: Animator, change: dict, words: str) -> None:
    arguments = {"reference": picture(0), "poses": None, "frames": 9, "face": FACE, "settings": FAST} | change
    with pytest.raises(ValueError, match=words):
        animator.animate(**arguments)


@pytest.mark.parametrize(
    ("maps", "words"),
    [
        (list(poses(2)), "ended before frame 3 of 6"),
        ([(picture(0), np.zeros((48, 40, 3), np.uint8))] * 6, "rendering map of frame 1 is 40x48, the reference 32x48"),
        ([(picture(0), picture(0)[..., 0])] * 6, "rendering map of frame 1 must be uint8"),
    ],
)
def test_poses_that_do_not_fit_are_named(animator: Animator, maps: list, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        list(animator.animate(picture(0), maps, 6, FACE, FAST))


def test_a_model_in_training_mode_is_refused(encoders: Encoders) -> None:
    with pytest.raises(ValueError, match=r"model.eval\(\)"):
        Animator(create(load_config("tiny"), 0).train(), encoders).animate(picture(0), None, 1)


def test_encoders_of_another_model_are_refused(encoders: Encoders) -> None:
    config = load_config("tiny")
    other = replace(config, clip=replace(config.clip, width=64))
    with torch.device("meta"):
        other_model = VividPose(other)
    with pytest.raises(ValueError, match="encoders of another model"):
        Animator(other_model.eval(), encoders)
