"""Features of frames and of clips, gathered while a video goes by."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipelines.clip import Frames
from pipelines.evaluate.availability import Available
from pipelines.evaluate.nets.i3d import load_i3d
from pipelines.evaluate.nets.inception import load_inception
from pipelines.evaluate.nets.resnet3d import MEAN, load_resnet3d
from pipelines.evaluate.nets.torchscript import TorchscriptI3d
from pipelines.evaluate.protocols import FEATURES, FeatureSet
from pipelines.evaluate.resize import KERNELS
from pipelines.evaluate.windows import LENGTH

Floats = NDArray[np.float32]
Network = Callable[[Tensor], Tensor]
EPSILON = {"i3d_disco": 1e-3, "i3d_videogpt": 1e-5}
FRAMES_AT_ONCE, CLIPS_AT_ONCE = 16, 4


def _to_one(frames: Tensor) -> Tensor:
    """0..255 to -1..1."""
    return frames / 127.5 - 1


def _less_mean(frames: Tensor) -> Tensor:
    return frames - torch.tensor(MEAN, device=frames.device).view(3, *[1] * (frames.ndim - 2))


def _as_it_is(frames: Tensor) -> Tensor:
    return frames


class Extractor:
    """One network with what belongs before it. Raises WeightsError for a file that does not fit."""

    def __init__(self, features: FeatureSet, available: Available, device: str) -> None:
        path = available.files[features.file]
        self.features, self.device = features, device
        self.prepare: Network = _to_one
        self.network: Network
        if features.name.startswith("inception"):
            self.network = load_inception(path).to(device)
        elif features.name == "resnet3d":
            self.network, self.prepare = load_resnet3d(path).to(device), _less_mean
        elif features.name == "i3d_stylegan_v":
            self.network, self.prepare = TorchscriptI3d(path, allowed=True).to(device), _as_it_is
        else:
            self.network = load_i3d(path, EPSILON[features.name]).to(device)

    @torch.no_grad()
    def __call__(self, pictures: Floats) -> Floats:
        """Features (n, d) of frames (n, H, W, 3) or clips (n, T, H, W, 3), 0..255. Raises ValueError if not finite."""
        channels_first = np.moveaxis(pictures, -1, 1)
        tensor = torch.from_numpy(np.ascontiguousarray(channels_first)).to(self.device)
        found = self.network(self.prepare(tensor)).float().cpu().numpy()
        if not np.isfinite(found).all():
            raise ValueError(f"{self.features.file}: gives features that are not finite; the file is damaged")
        return found


class Collector:
    """Takes the frames of one video, gives its features. Holds 16 resized frames and one batch."""

    def __init__(self, extractor: Extractor) -> None:
        self.extractor = extractor
        self.features = extractor.features
        self.at_once = FRAMES_AT_ONCE if self.features.per == "frame" else CLIPS_AT_ONCE
        self.recent: deque[Floats] = deque(maxlen=LENGTH)
        self.waiting: list[Floats] = []
        self.done: list[Floats] = []

    def add(self, frame: Frames) -> None:
        """A frame uint8 (H, W, 3)."""
        side = self.features.side
        resized = KERNELS[self.features.resize](frame, (side, side)) if side else frame.astype(np.float32)
        if self.features.per == "frame":
            self.waiting.append(resized)
        else:
            self.recent.append(resized)
            if len(self.recent) == LENGTH:
                self.waiting.append(np.stack(self.recent))
        if len(self.waiting) == self.at_once:
            self._flush()

    def finish(self) -> Floats:
        """(frames or clips, d); (0, 0) where there was none."""
        if self.waiting:
            self._flush()
        return np.concatenate(self.done) if self.done else np.zeros((0, 0), np.float32)

    def _flush(self) -> None:
        self.done.append(self.extractor(np.stack(self.waiting)))
        self.waiting = []


def extractors(names: set[str], available: Available, device: str) -> dict[str, Extractor]:
    """By name of the feature set; the two that share Inception share the network."""
    made: dict[str, Extractor] = {}
    for name in sorted(names):
        made[name] = Extractor(FEATURES[name], available, device)
        twin = {"inception_bilinear": "inception_bicubic"}.get(name)
        if twin in made:
            made[name].network = made[str(twin)].network
    return made
