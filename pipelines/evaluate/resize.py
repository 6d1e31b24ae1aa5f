"""The resize kernels that the metrics name. FID changes with the kernel alone, so each is kept apart and recorded."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from pipelines.clip import Frames

NONE = "none"
PIL_BICUBIC = "PIL bicubic, float, antialiased"
TORCH_BILINEAR = "torch bilinear, float, not antialiased"


def pil_bicubic(frame: Frames, size: tuple[int, int]) -> NDArray[np.float32]:
    """float32 (H, W, 3), about 0..255 (bicubic overshoots), not rounded, of uint8 (h, w, 3). size: (width, height).

    Source: clean-fid cleanfid/resize.py, and DisCo's copy, for FID-VID and FVD too.
    """
    channels = [Image.fromarray(frame[..., c].astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
                for c in range(3)]  # fmt: skip
    return np.stack([np.asarray(channel, np.float32) for channel in channels], axis=2)


def torch_bilinear(frame: Frames, size: tuple[int, int]) -> NDArray[np.float32]:
    """float32 (H, W, 3), 0..255, as pytorch-fid resizes inside its network: aliased where it shrinks."""
    tensor = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].float()
    resized = F.interpolate(tensor, (size[1], size[0]), mode="bilinear", align_corners=False)
    return resized[0].permute(1, 2, 0).numpy()


def to_bytes(frame: NDArray[np.float32]) -> Frames:
    """Rounded to uint8, for frames that the user asked to have resized before anything is measured."""
    return np.clip(np.rint(frame), 0, 255).astype(np.uint8)


KERNELS = {PIL_BICUBIC: pil_bicubic, TORCH_BILINEAR: torch_bilinear}
