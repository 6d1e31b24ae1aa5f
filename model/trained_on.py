"""What a model's training clips were like: kept with its weights, for whoever animates with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from model.weight_files import BadFolder


@dataclass(frozen=True)
class TrainedOn:
    """frames: of a clip. size: (width, height), pixels. skeleton: the drawing style of the skeleton maps.
    fps: frames a second that were sampled; None: those of each clip. strides: every n-th of them."""

    frames: int
    size: tuple[int, int]
    skeleton: str
    fps: float | None = None
    strides: tuple[int, ...] = (1,)

    def as_data(self) -> dict[str, Any]:
        return asdict(self) | {"size": list(self.size), "strides": list(self.strides)}

    def __str__(self) -> str:
        rate = "their own rate" if self.fps is None else f"{self.fps:g} frames a second"
        strides = "" if self.strides == (1,) else f", every {' or '.join(map(str, self.strides))}-th of them"
        return f"{self.frames} frames of {self.size[0]}x{self.size[1]}, {rate}{strides}, skeletons {self.skeleton}"


def read_trained_on(index: Mapping[str, Any], where: str) -> TrainedOn | None:
    """Of a `model_index.json`; None where it says nothing. `BadFolder` for what cannot be meant."""
    data = index.get("trained_on")
    if data is None:
        return None
    try:
        (width, height), fps = data["size"], data["fps"]
        found = TrainedOn(
            int(data["frames"]),
            (int(width), int(height)),
            str(data["skeleton"]),
            None if fps is None else float(fps),
            tuple(int(stride) for stride in data["strides"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BadFolder(f"{where}: trained_on is damaged ({type(error).__name__}: {error}); export again") from error
    numbers = (found.frames, *found.size, *found.strides, 1.0 if found.fps is None else found.fps)
    if not found.strides or not all(0 < number < 1e6 for number in numbers):
        raise BadFolder(f"{where}: trained_on holds numbers that cannot be: {data}; export again")
    return found
