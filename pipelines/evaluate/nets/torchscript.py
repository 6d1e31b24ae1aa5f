"""stylegan-v's i3d_torchscript.pt: a program, not a table of numbers."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from pipelines.weights_error import WeightsError

WHY_NOT = (
    "is TorchScript: loading it runs a program from the file, with your rights. Add --allow-torchscript only if you "
    "trust where it came from; i3d_pretrained_400.pt holds plain numbers and needs no such trust"
)


class TorchscriptI3d:
    """Clips (N, 3, T, H, W), RGB 0..255, of any size, to (N, 400): resizes and rescales inside, returns raw logits.

    Source: stylegan-v src/metrics/frechet_video_distance.py (rescale, resize and return_features all true).
    """

    def __init__(self, path: Path, *, allowed: bool) -> None:
        """Raises WeightsError unless `allowed`, and for a file that is not such a program."""
        if not allowed:
            raise WeightsError(path, WHY_NOT)
        try:
            self.script = torch.jit.load(str(path), map_location="cpu").eval()
        except (RuntimeError, ValueError) as error:
            told = str(error).strip().splitlines()[0][:200]
            raise WeightsError(path, f"is not a TorchScript program ({told}); download it again") from error
        self.path = path

    def to(self, device: str) -> TorchscriptI3d:
        self.script = self.script.to(device)
        return self

    def __call__(self, clips: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.script(clips, rescale=True, resize=True, return_features=True)
        if features.ndim != 2 or features.shape[1] != 400:
            raise WeightsError(self.path, f"expected features (N, 400), it gave {tuple(features.shape)}")
        return features
