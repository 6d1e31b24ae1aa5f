"""The maps that the model sees: the driver's motion in the reference's body, in the reference's frame.

Both maps are made as the training stream makes them: the body is drawn at the picture's working size and resized with
it, the skeleton is drawn at the model's size from the resized points. They are made frame by frame as they are asked
for, so that memory does not grow with the video.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.animate.framing import Framing
from pipelines.animate.spans import part_of_body, part_of_keypoints
from pipelines.body.model import Body
from pipelines.body.render import CHUNK, render_sequence
from pipelines.body.skeleton import Style, draw_skeleton
from pipelines.body.swap import SwapConfig, swap, swapped_keypoints
from pipelines.clip import BodySequence, Keypoints

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Motion:
    """A swapped sequence in the reference picture, with the driver's key points, whose scores it keeps."""

    body: Body
    sequence: BodySequence
    driving: Keypoints

    def __len__(self) -> int:
        return len(self.sequence)

    def keypoints(self) -> Iterator[Keypoints]:
        """Of the swapped body, some frames at a time."""
        for start in range(0, len(self), CHUNK):
            rows = slice(start, start + CHUNK)
            yield swapped_keypoints(self.body, part_of_body(self.sequence, rows), part_of_keypoints(self.driving, rows))

    def maps(self, framing: Framing, style: Style) -> Iterator[tuple[Picture, Picture]]:
        """(skeleton, rendering) of each frame, uint8 (H, W, 3) of the model's size. Black where nobody was seen."""
        rendered = render_sequence(self.body, self.sequence, framing.picture)
        for points in self.keypoints():
            placed = framing.points(points.points)
            for xy, scores in zip(placed, points.scores, strict=True):
                shaded, _ = next(rendered)
                yield draw_skeleton(xy, scores, framing.model, style), framing.map(shaded)


def swapped_motion(
    body: Body, reference: BodySequence, driving: BodySequence, keypoints: Keypoints, config: SwapConfig
) -> Motion:
    """Raises ValueError where the two belong to other body files."""
    return Motion(body, swap(reference, driving, body, config), keypoints)
