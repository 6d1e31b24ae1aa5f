"""How the reference gets into the model's frame, and how the result gets back into the reference's.

Pictures, key points and maps go through the same rectangle of the reference picture, with the crop of the training
stream (`pipelines.video.crop`): the same rounding, the same filters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.video.crop import Crop, crop_to

Picture = NDArray[np.uint8]
# Share of the crop's shorter side over which the animated part passes into the still surroundings.
SEAM = 0.03


@dataclass(frozen=True)
class Framing:
    """A rectangle of the reference picture, whole pixels, resized to the model's frame.

    picture, model: (width, height). left, top, width, height: of the rectangle; with `letterbox` it reaches beyond the
    picture, with `crop` it lies inside.
    """

    policy: Literal["letterbox", "crop"]
    picture: tuple[int, int]
    model: tuple[int, int]
    left: int
    top: int
    width: int
    height: int

    @property
    def scale(self) -> tuple[float, float]:
        """Model pixels per picture pixel, along x and y; equal to within half a pixel of the rectangle."""
        return self.model[0] / self.width, self.model[1] / self.height

    def reference(self, picture: Picture) -> Picture:
        """The reference picture (H, W, 3) in the model's frame; what lies beyond its borders repeats them."""
        return self._into(picture, cv2.BORDER_REPLICATE)

    def map(self, picture: Picture) -> Picture:
        """A map of the picture's size in the model's frame; black beyond the borders."""
        return self._into(picture, cv2.BORDER_CONSTANT)

    def points(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Key points (..., 2) of the picture in the model's frame."""
        return Crop(self.left, self.top, self.width, self.height, self.model).points(points)

    @property
    def result(self) -> tuple[int, int]:
        """(width, height), even: the whole reference picture at the model's scale."""
        if self.policy == "letterbox":
            x0, y0, x1, y1 = self._content()
            return x1 - x0, y1 - y0
        return _even(self.picture[0] * self.scale[0]), _even(self.picture[1] * self.scale[1])

    def _content(self) -> tuple[int, int, int, int]:
        """Where the picture lies in the model's frame: x0 y0 x1 y1, an even number of pixels."""
        spans = []
        for start, length, scale, limit in (
            (self.left, self.picture[0], self.scale[0], self.model[0]),
            (self.top, self.picture[1], self.scale[1], self.model[1]),
        ):
            low = max(0, round(-start * scale))
            wide = min(_even(length * scale), (limit - low) // 2 * 2)
            spans.append((low, low + wide))
        (x0, x1), (y0, y1) = spans
        return x0, y0, x1, y1

    def _into(self, picture: Picture, border: int) -> Picture:
        if (picture.shape[1], picture.shape[0]) != self.picture:
            raise ValueError(f"expected a picture of {self.picture}, got {picture.shape[1::-1]}")
        before = max(0, -self.left), max(0, -self.top)
        after = (
            max(0, self.left + self.width - self.picture[0]),
            max(0, self.top + self.height - self.picture[1]),
        )
        if any(before) or any(after):
            picture = cv2.copyMakeBorder(picture, before[1], after[1], before[0], after[0], border)  # type: ignore[assignment]
        crop = Crop(self.left + before[0], self.top + before[1], self.width, self.height, self.model)
        return np.ascontiguousarray(crop.pictures(picture[None])[0].transpose(1, 2, 0))


class Restorer:
    """Frames of the model (H, W, 3) back in the reference's framing: bars removed, or the crop put back into the still
    picture. Keeps the surroundings between frames."""

    def __init__(self, framing: Framing, reference: Picture) -> None:
        self.framing = framing
        self._around: NDArray[np.float32] | None = None
        if framing.policy == "crop":
            size = framing.result
            shrinks = framing.picture[0] > size[0] or framing.picture[1] > size[1]
            method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
            still = np.asarray(cv2.resize(reference, size, interpolation=method), np.float32)
            self._place = _placed(framing, size)
            self._weight = _seam(framing, self._place, size)
            self._around = still

    def __call__(self, frame: Picture) -> Picture:
        """uint8 (h, w, 3) of `framing.result`."""
        if self._around is None:
            x0, y0, x1, y1 = self.framing._content()
            return np.ascontiguousarray(frame[y0:y1, x0:x1])
        x0, y0, x1, y1 = self._place
        whole = self._around.copy()
        still, moving = whole[y0:y1, x0:x1], frame[: y1 - y0, : x1 - x0].astype(np.float32)
        whole[y0:y1, x0:x1] = still + self._weight * (moving - still)
        return np.rint(whole).astype(np.uint8)


def frame_reference(
    picture: tuple[int, int],
    model: tuple[int, int],
    policy: Literal["letterbox", "crop"],
    around: tuple[float, float] | None = None,
) -> Framing:
    """picture, model: (width, height) in pixels. around: the point of the picture (x, y) that a crop is centred on as
    far as the borders allow; None: its middle."""
    width, height = picture
    if policy == "letterbox":
        wide = max(width, round(height * model[0] / model[1]))
        high = max(height, round(width * model[1] / model[0]))
        # One of the two is the picture's own; the other makes the aspect.
        part = (wide, height) if wide > width else (width, high)
        return Framing(policy, picture, model, -((part[0] - width) // 2), -((part[1] - height) // 2), *part)
    crop = crop_to(picture, model)
    x, y = around or (width / 2, height / 2)
    left = min(max(round(x - crop.width / 2), 0), width - crop.width)
    top = min(max(round(y - crop.height / 2), 0), height - crop.height)
    return Framing(policy, picture, model, left, top, crop.width, crop.height)


def _placed(framing: Framing, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Where the model's frame lies in the result: x0 y0 x1 y1, inside it."""
    x0, y0 = round(framing.left * framing.scale[0]), round(framing.top * framing.scale[1])
    x0, y0 = min(x0, max(0, size[0] - framing.model[0])), min(y0, max(0, size[1] - framing.model[1]))
    return x0, y0, min(x0 + framing.model[0], size[0]), min(y0 + framing.model[1], size[1])


def _seam(framing: Framing, place: tuple[int, int, int, int], size: tuple[int, int]) -> NDArray[np.float32]:
    """(h, w, 1), 0..1: 1 inside, falling to 0 at borders of the crop that are not borders of the picture."""
    x0, y0, x1, y1 = place
    width = max(1.0, SEAM * min(x1 - x0, y1 - y0))
    ramps = []
    for low, high, limit in ((x0, x1, size[0]), (y0, y1, size[1])):
        at = np.arange(high - low, dtype=np.float32) + 0.5
        ramp = np.ones(high - low, np.float32)
        if low > 0:
            ramp = np.minimum(ramp, at / width)
        if high < limit:
            ramp = np.minimum(ramp, (high - low - at) / width)
        ramps.append(np.clip(ramp, 0, 1))
    return np.minimum(ramps[1][:, None], ramps[0][None])[..., None]


def _even(length: float) -> int:
    return max(2, round(length / 2) * 2)
