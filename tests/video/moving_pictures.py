"""Tiny synthetic videos for the tests, written with PyAV's encoders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from numpy.typing import NDArray

RED, GREEN, BLUE, YELLOW = (250, 10, 10), (10, 240, 20), (20, 20, 240), (240, 200, 20)


def quarters(number: int = 0, width: int = 192, height: int = 128) -> NDArray[np.uint8]:
    """RGB: red and green above, blue and yellow below, and a white mark that moves with `number`."""
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2, : width // 2], image[: height // 2, width // 2 :] = RED, GREEN
    image[height // 2 :, : width // 2], image[height // 2 :, width // 2 :] = BLUE, YELLOW
    x = 4 * number % (width - 8)
    image[4:12, x : x + 8] = 255
    return image


def mark_position(rgb: NDArray[np.uint8]) -> int:
    """The `number` that `quarters` (192 x 128) drew into a picture, up to coding noise."""
    row = rgb[5:11].astype(int).min(axis=2).mean(axis=0)
    return round((float(np.argmax(np.convolve(row, np.ones(8), "valid")))) / 4)


def scene(seed: int, number: int, width: int = 320, height: int = 256) -> NDArray[np.uint8]:
    """RGB: a picture of its own for every seed, panning slowly with `number`."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(30, 225, (height // 16 + 1, width // 16 + 40, 3)).astype(np.uint8)
    wide = blocks.repeat(16, axis=0).repeat(16, axis=1)
    return wide[:height, number : number + width]


def write_av1(path: Path, pictures: Iterable[NDArray[np.uint8]], **options: Any) -> Path:
    """`write_video` in a thread of its own: run as root, SVT-AV1 gives the thread that opens it, and all that this
    thread starts later, real-time priority for good, and such a test process starves every other on the machine."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(write_video, path, pictures, codec="libsvtav1", **options).result()


def write_video(
    path: Path,
    pictures: Iterable[NDArray[np.uint8]],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rate: Fraction | int = 30,
    stamps: Sequence[int] | None = None,
    clock: Fraction | None = None,
    container: str | None = None,
    matrix: Colorspace = Colorspace.ITU601,
    colour_range: ColorRange = ColorRange.MPEG,
    tagged: bool = False,
    rotation: tuple[float, bool] | None = None,
    pixel_aspect: Fraction | None = None,
    audio: bool = False,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Encode RGB pictures. stamps: presentation times in units of `clock`, by default the frame numbers."""
    with av.open(str(path), "w", format=container, options=container_options or {}) as output:
        stream = cast(VideoStream, output.add_stream(codec, rate=rate))
        stream.pix_fmt, stream.options = pix_fmt, dict(options or {})
        stream.codec_context.thread_count = 1
        if tagged:
            stream.codec_context.colorspace, stream.codec_context.color_range = int(matrix), int(colour_range)
        if clock:
            stream.codec_context.time_base = clock
        if pixel_aspect:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if rotation:
            stream.set_display_rotation(rotation[0], rotation[1])
        sound = output.add_stream("aac", rate=16000) if audio else None
        for number, rgb in enumerate(pictures):
            if number == 0:
                stream.height, stream.width = rgb.shape[:2]
                if sound is not None:
                    _silence(output, sound)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24").reformat(
                format=pix_fmt, dst_colorspace=matrix, dst_color_range=colour_range
            )
            frame.pts = stamps[number] if stamps is not None else number
            frame.time_base = clock or 1 / Fraction(rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if sound is not None:
            output.mux(sound.encode(None))
    return path


def _silence(output: av.container.OutputContainer, sound: av.AudioStream) -> None:
    for number in range(8):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, 1024 * number
        output.mux(sound.encode(frame))


def write_audio(path: Path) -> Path:
    with av.open(str(path), "w") as output:
        sound = output.add_stream("aac", rate=16000)
        _silence(output, sound)
        output.mux(sound.encode(None))
    return path


def quarter_colours(rgb: NDArray[np.uint8]) -> list[tuple[int, ...]]:
    """The colours at the centres of the four quarters: upper left, upper right, lower left, lower right."""
    height, width = rgb.shape[:2]
    spots = [(height // 4, width // 4), (height // 4, 3 * width // 4), (3 * height // 4, width // 4)]
    spots.append((3 * height // 4, 3 * width // 4))
    return [tuple(int(v) for v in rgb[y - 3 : y + 3, x - 3 : x + 3].mean(axis=(0, 1)).round()) for y, x in spots]
