"""What a video file is, found out before it is worked on, and why a file is no video."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.container
import av.error
import av.logging
from av.stream import Disposition

from pipelines.video import colour, orientation, timeline
from pipelines.video.orientation import Orientation

log = logging.getLogger(__name__)

# Scraped files are hostile: playlists and other formats that name further files or addresses are not opened.
CONTAINERS = "mov,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,mxf,h264,hevc,m4v,ivf,obu,wtv,dv,rm,nut"
OPEN_OPTIONS = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
# A decoder keeps up to 17 pictures, so this bounds memory: 8K video passes with some 50 MB a picture.
MAX_PIXELS = 8192 * 4352
MAX_RATE = 480
MIN_RATE = 1
# A picture shape beyond this (as shown) comes from a broken pixel aspect.
MAX_PIXEL_ASPECT = 4


class BadVideo(Exception):
    """A file that cannot be used: `reason` is a stable key for the ledger, the message is for people.

    Reasons: unreadable, empty_file, not_a_video, incomplete_file, no_video_stream, unsupported_codec, undecodable,
    too_few_frames, too_small, too_large, too_short, bad_timestamps.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)  # both, so that it survives the way out of a child process
        self.reason, self.message = reason, message

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video before it is decoded.

    width, height: pixels as shown: upright, with square pixels, not yet rounded to even numbers.
    coded_size: (width, height) as stored. pixel_aspect: width of a stored pixel over its height.
    rotation: degrees counter-clockwise that bring the stored picture upright. mirrored: shown as a mirror image.
    stamped: its pictures carry presentation stamps that can be trusted; AVI and broken files have none.
    fps: the constant rate at which the frames are delivered; measured from the time stamps. variable_rate: the source
        has no constant rate and is resampled. start: seconds, time stamp of the first slot of the grid.
    duration: seconds. frames: how many frames the file claims to have. packets: how many are really in it.
    interlaced: the first frame says so. hdr: "pq", "hlg" or None. matrix: name of the YCbCr matrix, or "rgb".
    """

    codec: str
    container: str
    pix_fmt: str
    bit_depth: int
    width: int
    height: int
    coded_size: tuple[int, int]
    pixel_aspect: Fraction
    orientation: Orientation
    fps: Fraction
    variable_rate: bool
    stamped: bool
    start: float
    duration: float
    frames: int
    packets: int
    has_audio: bool
    interlaced: bool
    matrix: str
    full_range: bool
    hdr: str | None
    notes: tuple[str, ...] = ()

    @property
    def rotation(self) -> int:
        return self.orientation.rotation

    @property
    def mirrored(self) -> bool:
        return self.orientation.mirrored


# How files begin that are videos, whole or not.
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_MAGIC = (b"\x1aE\xdf\xa3", b"RIFF", b"FLV\x01", b"OggS")


def open_video(path: Path) -> av.container.InputContainer:
    """Open a local file for reading, or raise BadVideo."""
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise BadVideo("unreadable", f"{path}: is no ordinary file")
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError as error:
        raise BadVideo("unreadable", f"{path}: cannot be read: {error.strerror}") from error
    if found.st_size == 0:
        raise BadVideo("empty_file", f"{path}: the file has zero bytes")
    try:
        # "file:" keeps a name such as `concat:x` or `http:x` from being taken for a protocol.
        return av.open(f"file:{path}", options=OPEN_OPTIONS, metadata_errors="replace")
    except av.error.FFmpegError as error:
        if head[4:8] in _MP4_BOXES or head[:4] in _MAGIC:
            raise BadVideo("incomplete_file", f"{path}: starts like a video but has no index ({error.strerror}); "
                           "the download was probably cut short") from error  # fmt: skip
        raise BadVideo("not_a_video", f"{path}: no known video format ({error.strerror})") from error


def video_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    """The largest video stream that is not a cover picture, set to decode in one thread."""
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        found = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        raise BadVideo("no_video_stream", f"{path}: has no video stream, only {found}")
    streams = [s for s in streams if s.codec_context is not None]
    if not streams:
        raise BadVideo("unsupported_codec", f"{path}: no decoder for its video stream")
    stream = max(streams, key=lambda s: (s.codec_context.width * s.codec_context.height, -s.index))
    stream.codec_context.thread_count = 1
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    return stream


def packets(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet]:
    """The stream's packets, the flushing one included; a file that cannot be read on simply ends."""
    demuxer = container.demux(stream)
    while True:
        try:
            packet = next(demuxer)
        except StopIteration:
            return
        except (av.error.FFmpegError, OSError) as error:
            log.warning("%s: reading stops early: %s", container.name, error)
            return
        yield packet


@dataclass
class _Content:
    """One pass over a file: its first decodable frame, all stamps in ticks, packets that are shown and that are not."""

    first: av.VideoFrame | None
    stamps: list[int]
    count: int
    hidden: int
    stamped: bool


def _read_through(container: av.container.InputContainer, stream: av.VideoStream) -> _Content:
    first: av.VideoFrame | None = None
    stamps: list[int] = []
    count = hidden = 0
    stamped = True
    for packet in packets(container, stream):
        if packet.size and packet.is_discard:  # before the edit list's start: decoded, never shown
            hidden += 1
        elif packet.size:
            count += 1
            stamped &= packet.pts is not None
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is not None:
                stamps.append(stamp)
        if first is None:
            try:
                first = next((f for f in packet.decode() if isinstance(f, av.VideoFrame) and not f.is_corrupt), None)
            except av.error.FFmpegError as error:
                log.debug("%s: packet %d: %s", container.name, count, error)
    return _Content(first, stamps, count, hidden, stamped)


def square_size(frame: av.VideoFrame, aspect: Fraction) -> tuple[int, int]:
    """(width, height) of a stored frame with pixels of `aspect`, stretched along one axis to square pixels."""
    return round(frame.width * max(aspect, Fraction(1))), round(frame.height * max(1 / aspect, Fraction(1)))


def _pixel_aspect(stream: av.VideoStream) -> tuple[Fraction, tuple[str, ...]]:
    aspect = stream.sample_aspect_ratio or Fraction(1)
    if aspect <= 0:
        return Fraction(1), ()
    if not Fraction(1, MAX_PIXEL_ASPECT) <= aspect <= MAX_PIXEL_ASPECT:
        return Fraction(1), (f"pixel_aspect_ignored:{aspect.numerator}:{aspect.denominator}",)
    return Fraction(aspect), ()


def probe(path: Path | str, *, min_side: int = 32, min_seconds: float = 0.0) -> VideoInfo:
    """Read the whole container and one frame of a local file. Raises BadVideo with the reason when it is no use.

    min_side: pixels, the least short side as shown. min_seconds: the least duration.
    """
    path = Path(path)
    with open_video(path) as container:
        stream = video_stream(container, path)
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > MAX_PIXELS:
            raise BadVideo("too_large", f"{path}: claims {width} x {height} pixels")
        content = _read_through(container, stream)
        first, count = content.first, content.count
        if count == 0:
            raise BadVideo("incomplete_file", f"{path}: the video stream holds no data; was the download cut short?")
        if first is None:
            codec = stream.codec_context.name
            raise BadVideo("undecodable", f"{path}: none of {count} packets of {codec} gives a picture")
        aspect, notes = _pixel_aspect(stream)
        turn = orientation.of_frame(first)
        if not turn.exact:
            notes += ("rotation_not_a_right_angle",)
        shown = turn.size(*square_size(first, aspect))
        if min(shown) < min_side:
            message = f"{path}: {shown[0]} x {shown[1]} pixels; the short side must have {min_side}"
            raise BadVideo("too_small", message)
        if count < 2:
            raise BadVideo("too_few_frames", f"{path}: has one frame only")
        line, line_notes = _timeline(path, stream, content.stamps, count)
        if line.duration < min_seconds:
            raise BadVideo("too_short", f"{path}: lasts {line.duration:.2f} s; at least {min_seconds:g} s are needed")
        matrix = colour.matrix(first)
        return VideoInfo(
            codec=stream.codec_context.name,
            container=container.format.name,
            pix_fmt=first.format.name,
            bit_depth=first.format.components[0].bits,
            width=shown[0],
            height=shown[1],
            coded_size=(first.width, first.height),
            pixel_aspect=aspect,
            orientation=turn,
            fps=line.fps,
            variable_rate=line.variable,
            stamped=content.stamped and not line_notes and container.format.name != "avi",
            start=line.origin,
            duration=line.duration,
            frames=max(stream.frames - content.hidden, count),
            packets=count,
            has_audio=bool(container.streams.audio),
            interlaced=first.interlaced_frame,
            matrix=matrix.name.lower() if matrix is not None else "rgb",
            full_range=colour.full_range(first),
            hdr=colour.hdr_transfer(first),
            notes=notes + line_notes + _missing_end(container, line.duration),
        )


def _missing_end(container: av.container.InputContainer, seconds: float) -> tuple[str, ...]:
    claimed = (container.duration or 0) / av.time_base
    missing = "matroska" in container.format.name and claimed > 1.05 * seconds + 1
    return (f"shorter_than_declared:{seconds:.1f}/{claimed:.1f}",) if missing else ()


def _timeline(
    path: Path, stream: av.VideoStream, stamps: list[int], count: int
) -> tuple[timeline.Timeline, tuple[str, ...]]:
    claimed = [Fraction(rate) for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate) if rate]
    line = timeline.measure(stamps, Fraction(stream.time_base or 1), claimed)
    if line is not None and MIN_RATE <= line.fps <= MAX_RATE:
        return line, ()
    # Stamps that are absent or absurd: fall back on a believable claim of the header, and say so.
    for rate in claimed:
        if MIN_RATE <= rate <= MAX_RATE:
            return timeline.Timeline(rate, False, 0.0, float(count / rate)), ("timestamps_ignored",)
    measured = f"{float(line.fps):g} frames a second" if line is not None else "no time stamps"
    message = f"{path}: {measured} measured, and the header claims nothing between {MIN_RATE} and {MAX_RATE}"
    raise BadVideo("bad_timestamps", message)
