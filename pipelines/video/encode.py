"""Writing the project's own clips: H.264 in mp4, the same bytes for the same pictures, quick to open at any frame.

One thread, constant quality, closed groups of 16 frames without B-frames: a window of 14 frames costs at most 15 frames
of decoding more than itself, and time stamps equal frame numbers. Nothing of the moment of encoding goes into the file.

Measured on 48 frames each of a dancer (768x1366), a street (1280x720), walkers (1366x768), a fashion model (512x640);
kB a frame / luma PSNR; frames a second of one core on the dancer:

    veryfast crf 16    13.4 / 51.4    16.2 / 46.8    34.2 / 45.0    3.1 / 51.8     94 fps
    veryfast crf 18    10.3 / 50.3    12.5 / 45.7    26.1 / 43.8    2.5 / 50.5     83    <- the default
    veryfast crf 20     7.9 / 49.1     9.6 / 44.5    19.9 / 42.5    2.0 / 49.1    109
    veryfast crf 22     6.1 / 48.0     7.4 / 43.3    15.3 / 41.2    1.6 / 47.7    122
    superfast crf 18   23.6 / 52.2    18.2 / 46.4    34.4 / 44.7    4.7 / 53.3    120
    medium   crf 18    11.3 / 50.9    13.3 / 46.7    26.4 / 44.5    2.5 / 51.2     35
    with 3 B-frames     9.3 / 50.0    10.5 / 45.7    21.1 / 43.6    2.2 / 49.8     81

Rendering maps (24 moving parts, 768x1366): 6.9 kB a frame for the shading at crf 18, with a mean error of one level
inside the body, and 3.2 kB for the lossless labels.

Since then x264's macroblock tree is off, which is not deterministic (`_x264`): at crf 18 between 12 % fewer and 60 %
more bytes, and up to 0.8 dB less or 0.4 dB more.

Every source here is already lossy, and 18 keeps its worst frame above 42 dB; slower presets buy half a decibel for two
to four times the work, and B-frames save 10 to 20 % of bytes but make every seek decode across groups.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from numpy.typing import NDArray

from pipelines.video import colour

KEY_INTERVAL = 16
CRF = 18
MAPS_CRF = 18
PRESET = "veryfast"


def _x264(stream: av.VideoStream, options: dict[str, str]) -> None:
    stream.codec_context.thread_count = 1
    group = f"keyint={KEY_INTERVAL}:min-keyint={KEY_INTERVAL}:scenecut=0:open-gop=0:bframes=0"
    # With x264's macroblock tree small clips differ now and then, by what lay in memory before.
    stream.options = {"preset": PRESET, "x264-params": f"{group}:mbtree=0", **options}


def _check_size(size: tuple[int, int]) -> None:
    if min(size) < 2 or size[0] % 2 or size[1] % 2:
        raise ValueError(f"a clip needs an even width and height, got {size[0]} x {size[1]}")


class ClipWriter:
    """Writes one clip. A context manager: the file is complete only after a clean exit, and removed after an error.

    The path is written in place: give a temporary one and rename it afterwards.
    """

    def __init__(self, path: Path | str, size: tuple[int, int], fps: Fraction, *, crf: int = CRF) -> None:
        """size: (width, height), even. fps: exact. crf: x264's constant quality, lower is better."""
        _check_size(size)
        self.path, self.size, self.fps = Path(path), size, Fraction(fps)
        self.frames = 0
        self._reformatter = VideoReformatter()
        self._container = av.open(
            f"file:{self.path}", "w", format="mp4", options={"movflags": "+faststart", "fflags": "+bitexact"}
        )
        self._stream = self._container.add_stream("libx264", rate=self.fps)
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.colorspace, context.color_range = int(Colorspace.ITU709), int(ColorRange.MPEG)
        context.color_primaries, context.color_trc = int(ColorPrimaries.BT709), int(ColorTrc.BT709)
        _x264(self._stream, {"crf": str(crf)})

    def write(self, picture: NDArray[np.uint8] | av.VideoFrame) -> None:
        """Append packed planes uint8 (H * 3 / 2, W), RGB uint8 (H, W, 3), or a BT.709 limited yuv420p frame."""
        frame = self._frame(picture)
        if (frame.width, frame.height) != self.size:
            wanted = f"{self.size[0]} x {self.size[1]}"
            raise ValueError(f"{self.path}: expected {wanted}, got {frame.width} x {frame.height}")
        frame.pts, frame.time_base = self.frames, 1 / self.fps
        self._container.mux(self._stream.encode(frame))
        self.frames += 1

    def _frame(self, picture: NDArray[np.uint8] | av.VideoFrame) -> av.VideoFrame:
        if isinstance(picture, av.VideoFrame):
            return picture
        return colour.rgb_to_frame(picture, self._reformatter) if picture.ndim == 3 else colour.planes_to_frame(picture)

    def finish(self) -> None:
        """Complete the file."""
        if not self.frames:
            self.discard()
            raise ValueError(f"{self.path}: a clip needs at least one frame")
        self._flush()
        self._container.close()

    def discard(self) -> None:
        """Close and remove what was written so far."""
        self._container.close()
        self.path.unlink(missing_ok=True)

    def _flush(self) -> None:
        self._container.mux(self._stream.encode(None))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()
        else:
            self.discard()


class MapsWriter(ClipWriter):
    """A clip of shaded pictures with a second, lossless stream of 8-bit labels, frame for frame."""

    def __init__(self, path: Path | str, size: tuple[int, int], fps: Fraction, *, crf: int = MAPS_CRF) -> None:
        super().__init__(path, size, fps, crf=crf)
        self._labels = self._container.add_stream("libx264", rate=self.fps)
        self._labels.width, self._labels.height = size
        self._labels.pix_fmt = "gray"
        _x264(self._labels, {"qp": "0"})

    def write_pair(self, shaded: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        """shaded: RGB uint8 (H, W, 3). labels: uint8 (H, W), kept bit for bit."""
        if labels.shape != (self.size[1], self.size[0]) or labels.dtype != np.uint8:
            expected = f"uint8 ({self.size[1]}, {self.size[0]})"
            raise ValueError(f"{self.path}: expected labels {expected}, got {labels.dtype} {labels.shape}")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(labels), format="gray")
        frame.pts, frame.time_base = self.frames, 1 / self.fps
        self.write(shaded)
        self._container.mux(self._labels.encode(frame))

    def _flush(self) -> None:
        super()._flush()
        self._container.mux(self._labels.encode(None))


def encode_clip(path: Path | str, pictures: Iterable[NDArray[np.uint8]], fps: Fraction, *, crf: int = CRF) -> int:
    """Write pictures of one size, RGB (H, W, 3) or packed planes (H * 3 / 2, W), all uint8. Returns how many."""
    iterator = iter(pictures)
    first = next(iterator, None)
    if first is None:
        raise ValueError(f"{path}: a clip needs at least one frame")
    height = first.shape[0] if first.ndim == 3 else first.shape[0] * 2 // 3
    with ClipWriter(path, (first.shape[1], height), fps, crf=crf) as writer:
        writer.write(first)
        for picture in iterator:
            writer.write(picture)
    return writer.frames


def encode_maps(
    path: Path | str,
    shaded: Iterable[NDArray[np.uint8]],
    labels: Iterable[NDArray[np.uint8]],
    fps: Fraction,
    *,
    crf: int = MAPS_CRF,
) -> int:
    """Write rendering maps: shaded RGB uint8 (H, W, 3) and labels uint8 (H, W), pairwise. Returns the number of frames.

    One mp4 with two H.264 streams: the first plays anywhere, the second holds the labels without loss. Read with
    `reader.MapsReader`. Raises ValueError when the two differ in length or size.
    """
    pairs = zip(shaded, labels, strict=True)
    first = next(pairs, None)
    if first is None:
        raise ValueError(f"{path}: maps need at least one frame")
    with MapsWriter(path, (first[0].shape[1], first[0].shape[0]), fps, crf=crf) as writer:
        writer.write_pair(*first)
        for pair in pairs:
            writer.write_pair(*pair)
    return writer.frames
