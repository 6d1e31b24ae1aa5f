"""Small videos for the tests: folders of PNG frames of moving blobs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from pipelines.clip import Frames


def moving(frames: int, seed: int = 0, size: tuple[int, int] = (48, 40), noise: float = 0) -> Frames:
    """uint8 (frames, H, W, 3): a smooth texture that moves a pixel a frame. noise: standard deviation, levels."""
    generator = np.random.default_rng(seed)
    width, height = size
    texture = cv2.GaussianBlur(generator.random((height + 8, width + 8, 3)).astype(np.float32), (0, 0), 2)
    low, high = texture.min(), texture.max()
    texture = (texture - low) / (high - low) * 255
    shown = np.stack([np.roll(texture, (t, t), (0, 1))[:height, :width] for t in range(frames)])
    return np.clip(shown + generator.normal(0, noise, shown.shape) if noise else shown, 0, 255).astype(np.uint8)


def write_frames(folder: Path, frames: Frames) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number}.png")
    return folder


def write_set(root: Path, lengths: dict[str, int], noise: float = 10) -> tuple[Path, Path]:
    """(results, truths): one folder of frames a video; the result is the truth with noise."""
    for index, (name, length) in enumerate(lengths.items()):
        write_frames(root / "truth" / name, moving(length, index))
        write_frames(root / "generated" / name, moving(length, index, noise=noise))
    return root / "generated", root / "truth"
