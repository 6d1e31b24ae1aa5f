"""A picture of somebody and a stream of poses to a video, frame by frame, at any length in the same memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model import edm
from model.conditions import ClipInputs, Conditions, Given
from model.encoders import Encoders
from model.guidance import Denoise, Guidance, guided
from model.input_check import BadInput, check_size
from model.noise import CONDITION_IMAGE, FrameNoise
from model.pose_features import Picture, PoseFeatures, PoseMaps, device_of, picture_size
from model.sampler import sample
from model.schedule import align_your_steps_sigmas, karras_sigmas
from model.vae import DecodeWindow, from_uint8, to_uint8
from model.vividpose import VividPose
from model.windows import Windows

Progress = Callable[[int, int], None]
"""Told the number of network evaluations done and to do (a window at a noise level counts one)."""


@dataclass(frozen=True)
class AnimationSettings:
    """How a video is sampled. The defaults are SVD's own.

    window: frames denoised together, by default what the model was made for; overlap: how many of them the next window
    shares. A window is decoded by `decode`.
    fps: what the model is told, the frame rate that it was trained to show. motion_bucket: 0..255. noise_aug: sigma of
    the noise on the condition image. seed: 0 to 2^64-1; the frames' noise depends on it and on nothing else.
    batched_guidance: both halves of the guidance in one forward, else one after the other in less memory.

    Fast modes, which change the result: fewer `steps`; schedule "align_your_steps", ten levels optimised for SVD;
    `guidance` in an interval of sigma only, or none at all (scales of 1).
    """

    steps: int = 25
    schedule: Literal["karras", "align_your_steps"] = "karras"
    guidance: Guidance = field(default_factory=Guidance)
    batched_guidance: bool = True
    window: int | None = None
    overlap: int = 4
    decode: DecodeWindow = field(default_factory=DecodeWindow)
    fps: float = 7.0
    motion_bucket: float = 127.0
    noise_aug: float = 0.02
    seed: int = 0

    def sigmas(self) -> tuple[float, ...]:
        if self.schedule == "align_your_steps":
            return align_your_steps_sigmas(self.steps)
        if self.schedule == "karras":
            return karras_sigmas(self.steps)
        raise ValueError(f"schedule: expected karras or align_your_steps, not {self.schedule!r}")

    def windows(self, frames: int, made_for: int) -> Windows:
        size = made_for if self.window is None else self.window
        # A video shorter than a window is one window: then the overlap means nothing, and need not fit.
        return Windows(frames, size, self.overlap if frames > size else min(self.overlap, max(size - 1, 0)))


class Animator:
    """A model in evaluation mode with its encoders.

    replicas: copies of the model on other devices. The windows of a long video are then denoised at the same time,
    with the same result.
    Parts that are needed once for a video (CLIP's encoder, the ReferenceNet) may lie on another device than the UNet,
    the CPU say: they are moved for that moment and moved back. The VAE is needed to the end and works where it lies.
    """

    def __init__(self, model: VividPose, encoders: Encoders, replicas: Sequence[VividPose] = ()) -> None:
        found = (encoders.vae.factor, encoders.vae.channels, encoders.image.width)
        wanted = (model.config.vae.scale_factor, model.config.vae.latent_channels, model.config.clip.width)
        if found != wanted:
            raise ValueError(
                "encoders of another model: pixels per latent, latent channels and width of the image embedding are "
                f"{found}, the model is made for {wanted}"
            )
        self.models = (model, *replicas)
        self.encoders = encoders

    def animate(
        self,
        reference: Picture,
        poses: Iterable[PoseMaps] | None,
        frames: int,
        face: NDArray[np.floating[Any]] | None = None,
        settings: AnimationSettings | None = None,
        *,
        appearance: bool = True,
        progress: Progress | None = None,
    ) -> Iterator[Picture]:
        """Frames in order, uint8 (H, W, 3) RGB of the reference's size, each as soon as it is ready.

        reference: uint8 (H, W, 3) RGB, sides divisible by `config.size_multiple`. poses: maps of the same size, read
        in order and only as far ahead as needed; None for none. frames: how many poses there are. face: (512,) ArcFace
        embedding of any length, None where no face was found. appearance: False leaves out the ReferenceNet, so that
        the reference acts as SVD's condition image only.

        Raises BadInput for pictures, sizes and embeddings that do not fit, before the first frame where it can be told,
        and FloatingPointError where the network gives NaN.
        """
        settings = settings or AnimationSettings()
        for model in self.models:
            if model.training:
                raise ValueError("the model is in training mode: call model.eval() before animating")
        size = picture_size(reference, "the reference")
        check_size(*size, self.models[0].config)
        windows = settings.windows(frames, self.models[0].config.unet.num_frames)
        sigmas = settings.sigmas()
        # All that can be refused is refused above or in here: not later, at the first `next`.
        conditions = self._conditions(reference, face, appearance, settings)
        return self._frames(conditions, poses, windows, sigmas, size, settings, progress)

    def _frames(
        self,
        conditions: Conditions,
        poses: Iterable[PoseMaps] | None,
        windows: Windows,
        sigmas: tuple[float, ...],
        size: tuple[int, int],
        settings: AnimationSettings,
        progress: Progress | None,
    ) -> Iterator[Picture]:
        features = None if poses is None else PoseFeatures(self.models[0], poses, windows.frames, size)
        tick = _Counter(progress, windows.count * (len(sigmas) - 1))
        denoisers = [
            denoiser(
                model, conditions.to(device_of(model)), features, settings.guidance, settings.batched_guidance, tick
            )
            for model in self.models
        ]
        factor, channels = self.encoders.vae.factor, self.encoders.vae.channels
        shape = (channels, size[1] // factor, size[0] // factor)
        noise = FrameNoise((settings.seed,), shape, device_of(self.models[0]))

        def latents() -> Iterator[Tensor]:
            for number, latent in sample(denoisers, noise, windows, sigmas):
                if features is not None:
                    features.forget_through(number)
                yield latent[0]

        for picture in self.encoders.vae.decode_stream(latents(), settings.decode):
            yield to_uint8(picture).cpu().numpy()

    @torch.no_grad()
    def _conditions(
        self, reference: Picture, face: NDArray[np.floating[Any]] | None, appearance: bool, settings: AnimationSettings
    ) -> Conditions:
        """Everything but the poses; runs each of the encoders and the ReferenceNet once."""
        model, vae, image = self.models[0], self.encoders.vae, self.encoders.image
        device = device_of(model)
        picture = from_uint8(torch.from_numpy(np.array(reference)))[None].to(device)
        yes, no = torch.tensor([True]), torch.tensor([False])
        noise = FrameNoise((settings.seed,), tuple(picture.shape[1:]), device)(CONDITION_IMAGE)
        noise_aug = torch.tensor([settings.noise_aug], device=device)
        nothing = picture.new_zeros(()).expand(1, 1, *picture.shape[1:])
        with ExitStack() as visits:
            for part in (image.net, model.reference_net):
                visits.enter_context(_visiting(part, device))
            inputs = ClipInputs(
                reference_latent=vae.scaled(vae.encode(picture).mode()).to(device),
                image_latent=vae.image_latent(picture, noise, noise_aug).to(device),
                clip_embedding=image.embed(picture),
                face_embedding=self._face(face).to(device),
                skeleton=nothing,
                rendering=nothing,
                fps=torch.tensor([float(settings.fps)], device=device),
                motion_bucket=torch.tensor([float(settings.motion_bucket)], device=device),
                noise_aug=noise_aug,
                given=Given(
                    image=yes, clip=yes, reference=yes if appearance else no, face=no if face is None else yes, pose=no
                ),
            )
            return model.conditions(inputs)

    def _face(self, face: NDArray[np.floating[Any]] | None) -> Tensor:
        width = self.models[0].config.identity.embedding
        if face is None:
            return torch.zeros(1, width)
        vector = torch.as_tensor(np.asarray(face, np.float32))
        if vector.shape != (width,):
            raise BadInput(f"the face embedding has the shape {tuple(vector.shape)}, expected ({width},)")
        length = vector.norm()
        if not 0 < float(length) < float("inf"):
            raise BadInput("the face embedding is zero or not finite: give None where no face was found")
        return (vector / length)[None]


def denoiser(
    model: VividPose,
    conditions: Conditions,
    features: PoseFeatures | None,
    guidance: Guidance,
    batched: bool,
    tick: Callable[[], None] = lambda: None,
) -> Denoise:
    """What the sampler asks: the model's D with guidance, on the device of the model and of `conditions`."""
    without = conditions.unconditional()
    variants = {(True,): conditions, (False,): without, (False, True): without.stacked(conditions)}
    device = device_of(model)

    @torch.no_grad()
    def predict(x: Tensor, sigma: float, frames: range, conditional: tuple[bool, ...]) -> Tensor:
        halves, clips = len(conditional), len(x)
        x = x.to(device)
        given = variants[conditional]
        if features is not None:
            pose = features.of(frames).to(device)
            given = given.with_pose(pose.expand(halves * clips, *pose.shape[1:]))
        scaled = edm.scaled(x, sigma).repeat(halves, 1, 1, 1, 1)
        level = edm.c_noise(sigma).to(device).expand(halves * clips)
        predicted = model(scaled, level, given)
        return torch.stack([edm.denoised(half, x, sigma) for half in predicted.chunk(halves)])

    inner = guided(predict, guidance, batched)

    def denoise(x: Tensor, sigma: float, frames: range) -> Tensor:
        result = inner(x, sigma, frames)
        tick()
        return result

    return denoise


class _Counter:
    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self._done += 1
            if self._progress is not None:
                self._progress(self._done, self._total)


@contextmanager
def _visiting(part: Any, device: torch.device) -> Iterator[None]:
    """The part on this device, and back where it was."""
    home = next(part.parameters()).device
    part.to(device)
    try:
        yield
    finally:
        part.to(home)
