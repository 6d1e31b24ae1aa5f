"""Reading the project's own clips: frames by number, in order or at random, from a file or from a shard's bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from pipelines.video import colour
from pipelines.video.encode import KEY_INTERVAL


class ClipReader:
    """Frames of a constant-rate clip that `encode` wrote. Not for foreign files: those go through `decode`.

    fps: exact Fraction. size: (width, height). len(): number of frames. Decodes in one thread; one reader per thread.
    """

    def __init__(self, source: Path | str | bytes, *, stream: int = 0) -> None:
        """source: a path, or the bytes of the mp4. stream: which video stream. Raises ValueError for a broken clip."""
        self.name = "<bytes>" if isinstance(source, bytes) else str(source)
        opened = io.BytesIO(source) if isinstance(source, bytes) else f"file:{source}"
        try:
            self._container = av.open(opened, "r", format="mp4")
        except av.error.InvalidDataError as error:
            raise ValueError(f"{self.name}: not a readable clip: {error.strerror}; make it again") from error
        streams = self._container.streams.video
        if len(streams) <= stream:
            raise ValueError(f"{self.name}: has {len(streams)} video streams, wanted number {stream}")
        self._stream = streams[stream]
        self._stream.codec_context.thread_count = 1
        self.size = (self._stream.codec_context.width, self._stream.codec_context.height)
        self.fps = Fraction(self._stream.average_rate or 0)
        if self.fps <= 0 or self._stream.time_base is None:
            raise ValueError(f"{self.name}: has no frame rate, so it is no clip of this project")
        self._ticks = 1 / (self.fps * self._stream.time_base)
        self._frames = self._forward()
        self._next = 0  # number of the frame that the running decoder gives next
        self._reformatter = VideoReformatter()

    def __len__(self) -> int:
        return self._stream.frames

    def chunks(self, n: int) -> Iterator[NDArray[np.uint8]]:
        """All frames in order, as arrays (n, H, W, ...), the last one shorter."""
        for start in range(0, len(self), n):
            yield self.frames(range(start, min(start + n, len(self))))

    def frames(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """The frames of the given numbers, in that order, repeats allowed: uint8 (len(indices), H, W, 3) RGB."""
        if len(indices) == 0:
            return np.empty((0, *self._shape()), np.uint8)
        if min(indices) < 0 or max(indices) >= len(self):
            asked = f"{min(indices)} to {max(indices)}"
            raise IndexError(f"{self.name}: has frames 0 to {len(self) - 1}, asked for {asked}")
        out = np.empty((len(indices), *self._shape()), np.uint8)
        places: dict[int, list[int]] = {}
        for place, index in enumerate(indices):
            places.setdefault(int(index), []).append(place)
        for index in sorted(places):
            out[places[index]] = self._convert(self._frame(index))
        return out

    def _shape(self) -> tuple[int, ...]:
        return (self.size[1], self.size[0], 3)

    def _convert(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        return colour.frame_to_rgb(frame, self._reformatter)

    def _frame(self, index: int) -> av.VideoFrame:
        if index < self._next or index // KEY_INTERVAL > self._next // KEY_INTERVAL:
            self._container.seek(round(index * self._ticks), stream=self._stream, backward=True)
            self._frames = self._forward()
        fault: av.error.FFmpegError | None = None
        try:
            for number, frame in self._frames:
                self._next = number + 1
                if number == index:
                    return frame
                if number > index:
                    break
        except av.error.FFmpegError as error:
            fault = error
        self._next = len(self)  # the decoder's place is lost: seek before the next frame
        raise ValueError(f"{self.name}: frame {index} of {len(self)} cannot be decoded; make the clip again") from fault

    def _forward(self) -> Iterator[tuple[int, av.VideoFrame]]:
        for frame in self._container.decode(self._stream):
            assert frame.pts is not None
            yield round(frame.pts / self._ticks), frame

    def close(self) -> None:
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LabelReader(ClipReader):
    """The lossless label stream of rendering maps: frames are uint8 (n, H, W)."""

    def __init__(self, source: Path | str | bytes) -> None:
        super().__init__(source, stream=1)

    def _shape(self) -> tuple[int, ...]:
        return (self.size[1], self.size[0])

    def _convert(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        # Monochrome H.264 decodes to a picture whose first plane is the labels, untouched.
        plane = frame.planes[0]
        return np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]


class MapsReader:
    """Rendering maps as `encode_maps` wrote them: `shaded` frames RGB (n, H, W, 3) and `labels` (n, H, W), uint8."""

    def __init__(self, source: Path | str | bytes) -> None:
        self.shaded = ClipReader(source)
        self.labels = LabelReader(source)
        self.fps, self.size = self.shaded.fps, self.shaded.size

    def __len__(self) -> int:
        return len(self.shaded)

    def frames(self, indices: Sequence[int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        return self.shaded.frames(indices), self.labels.frames(indices)

    def chunks(self, n: int) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        yield from zip(self.shaded.chunks(n), self.labels.chunks(n), strict=True)

    def close(self) -> None:
        self.shaded.close()
        self.labels.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
