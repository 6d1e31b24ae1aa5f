"""The settings of `vividpose latents`."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.latents_format import Precision


@dataclass(frozen=True)
class LatentsSettings:
    """model: a folder with `vae/` and `image_encoder/` (Stable Video Diffusion, VividPose), or "tiny".

    size: (width, height) of the centre crop, as in the trainer's `clip.size`. precision: of the networks.
    device: auto, cuda or cpu. at_once: frames through the networks at a time. executor: ray or inline.
    workers: 0 shares out what the machine has. gpus: of a GPU that one worker takes; None: 1 on cuda, else 0.
    """

    model: str
    size: tuple[int, int] = (512, 768)
    precision: Precision = "fp32"
    device: str = "auto"
    at_once: int = 8
    executor: str = "ray"
    workers: int = 0
    gpus: float | None = None

    def __post_init__(self) -> None:
        if any(side < 8 or side % 8 for side in self.size):
            raise ValueError(f"size must be multiples of 8, since the VAE shrinks by 8; got {self.size}")
        if self.at_once < 1 or self.workers < 0:
            raise ValueError(f"at_once must be at least 1 and workers at least 0; got {self.at_once}, {self.workers}")
        if self.executor not in ("ray", "inline"):
            raise ValueError(f"executor must be ray or inline, got {self.executor!r}")
        if self.device not in ("auto", "cuda", "cpu"):
            raise ValueError(f"device must be auto, cuda or cpu, got {self.device!r}")
