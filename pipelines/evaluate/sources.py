"""The videos in a folder: mp4 and the like, folders of frames, arrays; and their frames, one by one, as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import av.error
import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from PIL import Image

from pipelines.clip import Frames
from pipelines.ingest.sources import VIDEO_EXTENSIONS, natural_key
from pipelines.video import colour, orientation
from pipelines.video.probe import BadVideo, open_video, packets, square_size, video_stream

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})
ARRAY = ".npy"
PALETTE = ".gif"
# As everywhere in the project: exact, and the same bytes on every machine.
TO_RGB = Interpolation.BILINEAR | colour.EXACT | Interpolation.FULL_CHR_H_INT
_NUMBERED = re.compile(r"^(.*?)[-_. ]?(\d+)$")


class BadInput(ValueError):
    """Videos that cannot be measured. problems: one line each."""

    def __init__(self, problems: list[str]) -> None:
        shown = problems[:12]
        more = [f"... and {len(problems) - len(shown)} more"] if len(problems) > len(shown) else []
        super().__init__("; ".join(shown) if len(problems) == 1 else "\n  ".join(["cannot compare:", *shown, *more]))
        self.problems = problems


@dataclass(frozen=True)
class Video:
    """One video of a folder. kind: how it is stored. files: the video or the array, or its frames in order."""

    name: str
    kind: Literal["video", "frames", "array"]
    files: tuple[str, ...]

    @property
    def where(self) -> str:
        return self.files[0] if self.kind != "frames" else str(Path(self.files[0]).parent)


def find_videos(folder: Path) -> tuple[list[Video], list[str]]:
    """(videos in natural order, other files that were left alone).

    A folder holds videos, .npy arrays, folders of frames, or frames themselves: `<video>_<number>.png` as DisCo writes
    them, or of one video. Hidden files are not looked at. Raises BadInput: no such folder, nothing in it, two videos of
    one name, GIFs, frames without numbers beside others.
    """
    if not folder.is_dir():
        raise BadInput([f"{folder}: there is no such folder"])
    entries = sorted((p for p in folder.iterdir() if not p.name.startswith(".")), key=lambda p: natural_key(p.name))
    videos, loose, others = [], [], []
    problems = []
    for path in entries:
        suffix = path.suffix.lower()
        if path.is_dir():
            frames = pictures_in(path)
            if frames:
                videos.append(Video(path.name, "frames", tuple(map(str, frames))))
            else:
                others.append(f"{path}/ (no frames in it)")
        elif suffix in VIDEO_EXTENSIONS:
            videos.append(Video(path.stem, "video", (str(path),)))
        elif suffix == ARRAY:
            videos.append(Video(path.stem, "array", (str(path),)))
        elif suffix == PALETTE:
            problems.append(f"{path}: a GIF holds 256 colours, which changes every number; bring PNG or mp4")
        elif suffix in PICTURES:
            loose.append(path)
        else:
            others.append(str(path))
    videos += _grouped(folder, loose)
    names = [video.name for video in videos]
    twice = sorted({name for name in names if names.count(name) > 1})
    problems += [f"{folder}: two videos are named {name!r}" for name in twice]
    if not videos and not problems:
        problems.append(f"{folder}: holds no videos (such as .mp4), no folders of frames and no frames")
    if problems:
        raise BadInput(problems)
    return sorted(videos, key=lambda video: natural_key(video.name)), others


def pictures_in(folder: Path) -> list[Path]:
    """The frames of a folder, in natural order."""
    found = [p for p in folder.iterdir() if p.suffix.lower() in PICTURES and not p.name.startswith(".")]
    return sorted(found, key=lambda p: natural_key(p.name))


def _grouped(folder: Path, frames: list[Path]) -> list[Video]:
    """Frames that lie in the folder itself, by the part of their names before the last number."""
    groups: dict[str, list[str]] = {}
    for path in frames:
        match = _NUMBERED.match(path.stem)
        if match is None:
            raise BadInput([f"{path}: its name ends in no frame number; put the frames of each video into a folder"])
        groups.setdefault(match[1], []).append(str(path))
    return [Video(name or "video", "frames", tuple(files)) for name, files in groups.items()]


def size_and_count(video: Video) -> tuple[tuple[int, int], int]:
    """((width, height), number of frames), without decoding pictures. Raises BadInput for what is known to be wrong."""
    if video.kind == "frames":
        sizes = {path: _picture_size(path) for path in video.files}
        first = sizes[video.files[0]]
        odd = [f"{path}: {s[0]} x {s[1]}, the first frame has {first[0]} x {first[1]}"
               for path, s in sizes.items() if s != first]  # fmt: skip
        if odd:
            raise BadInput(odd)
        return first, len(video.files)
    if video.kind == "array":
        array = _array(video.files[0])
        return (array.shape[2], array.shape[1]), len(array)
    try:
        with open_video(Path(video.files[0])) as container:
            stream = video_stream(container, Path(video.files[0]))
            promised = stream.frames
            count, hidden, size = 0, 0, None
            for packet in packets(container, stream):
                count += packet.size > 0 and not packet.is_discard
                hidden += packet.size > 0 and packet.is_discard
                if size is None:
                    for frame in packet.decode():
                        size = orientation.of_frame(frame).size(*square_size(frame, _aspect(stream)))
                        break
    except (BadVideo, av.error.FFmpegError) as error:
        raise BadInput([str(error) if isinstance(error, BadVideo) else f"{video.where}: {error}"]) from error
    if size is None:
        raise BadInput([f"{video.where}: no frame of it can be decoded"])
    if count + hidden < promised:
        found = f"{count + hidden} of the {promised} frames"
        raise BadInput([f"{video.where}: cut short: {found} that its header promises are there"])
    return size, count


def frames_of(video: Video) -> Iterator[Frames]:
    """Every frame, in order, uint8 (H, W, 3) RGB; nothing dropped, repeated or resized.

    Raises BadInput: a frame that cannot be decoded, transparency, more than eight bits, other than square pixels,
    values that are not finite or outside 0..1 in an array of floats.
    """
    if video.kind == "frames":
        yield from (_picture(path) for path in video.files)
    elif video.kind == "array":
        yield from _array_frames(video.files[0])
    else:
        yield from _decoded(Path(video.files[0]))


def _decoded(path: Path) -> Iterator[Frames]:
    reformatter = VideoReformatter()
    try:
        with open_video(path) as container:
            stream = video_stream(container, path)
            number = 0
            for packet in packets(container, stream):
                for frame in packet.decode():
                    if not isinstance(frame, av.VideoFrame):
                        continue
                    if frame.is_corrupt:
                        raise BadInput([f"{path}: frame {number} is damaged"])
                    if square_size(frame, _aspect(stream)) != (frame.width, frame.height):
                        raise BadInput([f"{path}: its pixels are not square; convert it, so that sizes mean something"])
                    number += 1
                    yield np.ascontiguousarray(orientation.of_frame(frame).apply(_rgb(frame, reformatter, path)))
    except BadVideo as error:
        raise BadInput([str(error)]) from error
    except av.error.FFmpegError as error:
        raise BadInput([f"{path}: frame {number} cannot be decoded: {error.strerror}"]) from error


def _aspect(stream: av.VideoStream) -> Fraction:
    return stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or Fraction(1)


def _rgb(frame: av.VideoFrame, reformatter: VideoReformatter, path: Path) -> Frames:
    if colour.hdr_transfer(frame):
        raise BadInput([f"{path}: is HDR ({colour.hdr_transfer(frame)}); convert it to BT.709 first"])
    if frame.format.name == "rgb24":
        return np.asarray(frame.to_ndarray(), np.uint8)
    source_range = ColorRange.JPEG if colour.full_range(frame) else ColorRange.MPEG
    converted = reformatter.reformat(
        frame, format="rgb24", src_colorspace=colour.matrix(frame), src_color_range=source_range,
        dst_color_range=ColorRange.JPEG, interpolation=TO_RGB, threads=1,
    )  # fmt: skip
    return np.asarray(converted.to_ndarray(), np.uint8)


def _picture_size(path: str) -> tuple[int, int]:
    try:
        with Image.open(path) as picture:
            return picture.size
    except (OSError, Image.DecompressionBombError) as error:
        raise BadInput([f"{path}: is no picture ({error})"]) from error


def _picture(path: str) -> Frames:
    try:
        with Image.open(path) as picture:
            if picture.mode not in ("RGB", "L", "P", "RGBA", "LA"):
                raise BadInput([f"{path}: is of mode {picture.mode}; eight-bit RGB is expected"])
            if picture.has_transparency_data:
                alpha = np.asarray(picture.convert("RGBA"))[..., 3]
                if (alpha < 255).any():
                    raise BadInput([f"{path}: is partly transparent: nothing says what lies behind it"])
            return np.array(picture.convert("RGB"), np.uint8)
    except (OSError, Image.DecompressionBombError) as error:
        raise BadInput([f"{path}: cannot be read ({error})"]) from error


def _array(path: str) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BadInput([f"{path}: is no array ({error})"]) from error
    known = array.dtype in (np.uint8, np.float32, np.float64)
    if array.ndim != 4 or array.shape[3] != 3 or not known or 0 in array.shape:
        raise BadInput([f"{path}: expected frames (T, H, W, 3), uint8 or float 0..1; got {array.dtype} {array.shape}"])
    return array


def _array_frames(path: str) -> Iterator[Frames]:
    for number, frame in enumerate(_array(path)):
        if frame.dtype != np.uint8:
            if not np.isfinite(frame).all():
                raise BadInput([f"{path}: frame {number} holds values that are not finite"])
            if frame.min() < 0 or frame.max() > 1:
                found = f"{frame.min():g} to {frame.max():g}"
                raise BadInput([f"{path}: frame {number} has values from {found}; 0..1 expected"])
            frame = np.rint(frame * 255).astype(np.uint8)
        yield np.ascontiguousarray(frame)
