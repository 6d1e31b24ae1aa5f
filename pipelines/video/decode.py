"""Streaming decode of any source: upright, square pixels, BT.709 4:2:0 of the working size, at a constant rate.

PyAV rather than decord, by measurement (benchmarks/decode.py): a quarter to a third more frames a CPU second, equal
random access, and it reads AV1 and the good part of truncated files, on which decord fails.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from pathlib import Path

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from pipelines.video import colour, orientation
from pipelines.video.probe import BadVideo, VideoInfo, open_video, packets, probe, square_size, video_stream

log = logging.getLogger(__name__)

# Above this a missing stretch is a hole in the film, not a picture that was held: seconds.
MAX_HOLD = 0.5
# Decoder errors after which a file counts as unreadable from there on.
MAX_ERRORS = 500


@dataclass(frozen=True)
class Picture:
    """One frame of the constant-rate sequence.

    planes: uint8 (H * 3 / 2, W), Y over U over V, BT.709 limited range. index: 0, 1, 2, ... without gaps.
    time: seconds on the source's own clock. jump: frames were lost just before this one, so that it does not continue
        the picture before it.
    """

    planes: NDArray[np.uint8]
    index: int
    time: float
    jump: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.planes.shape[1], self.planes.shape[0] * 2 // 3


def working_size(width: int, height: int, short_side: int = 768, long_side: int = 2048) -> tuple[int, int]:
    """The even (width, height) that frames are normalised to: the short side at most `short_side`, the long one at most
    `long_side`, the aspect kept, never enlarged."""
    scale = min(1.0, short_side / min(width, height), long_side / max(width, height))
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)


class Decoder:
    """Iterate once over the pictures of a file; afterwards `notes` says what was odd about it.

    Memory: a few frames, whatever the length of the file. `decoded` counts source frames, `emitted` pictures.
    """

    def __init__(
        self,
        path: Path | str,
        info: VideoInfo | None = None,
        *,
        short_side: int = 768,
        long_side: int = 2048,
        max_fps: float = 60.0,
        threads: int = 1,
    ) -> None:
        self.path = Path(path)
        self.info = info or probe(self.path)
        # A measured 60.04 is a 60 for this purpose.
        self.step = max(1, ceil(self.info.fps / Fraction(max_fps).limit_denominator(1001) - Fraction(1, 50)))
        self.fps = self.info.fps / self.step
        self.size = working_size(self.info.width, self.info.height, short_side, long_side)
        self._limits = (short_side, long_side)
        self._threads = threads
        self._normalise = colour.Normaliser()
        self.decoded = 0
        self.emitted = 0
        self.errors = 0
        self.corrupt = 0
        self.holes = 0

    @property
    def notes(self) -> list[str]:
        """Short remarks, each a stable key with numbers behind a colon. Complete once the iteration has ended."""
        info = self.info
        found = list(info.notes)
        if info.variable_rate:
            found.append("variable_rate")
        if info.interlaced:
            found.append("interlaced")
        if info.hdr:
            found.append(f"hdr:{info.hdr}")
        if self.step > 1:
            found.append(f"rate_divided:{self.step}")
        if self.errors:
            found.append(f"decode_errors:{self.errors}")
        if self.corrupt:
            found.append(f"corrupt_frames:{self.corrupt}")
        if self.holes:
            found.append(f"holes:{self.holes}")
        if self.decoded < info.frames:
            found.append(f"truncated:{self.decoded}/{info.frames}")
        return found

    def __iter__(self) -> Iterator[Picture]:
        with open_video(self.path) as container:
            stream = video_stream(container, self.path)
            stream.codec_context.thread_count = self._threads
            frames = self._source_frames(container, stream)
            timed = self._on_grid(frames) if self.info.stamped else self._counted(frames)
            for frame, time, jump in timed:
                yield Picture(self._planes(frame), self.emitted, time, jump)
                self.emitted += 1
        if self.emitted == 0:
            raise BadVideo("undecodable", f"{self.path}: {self.errors} decoding errors and not one good frame")

    def _source_frames(
        self, container: av.container.InputContainer, stream: av.VideoStream
    ) -> Iterator[tuple[av.VideoFrame, bool]]:
        """Good frames in presentation order, each with whether something before it was lost."""
        lost = wait_for_key = False
        for packet in packets(container, stream):
            try:
                frames = packet.decode()
            except av.error.FFmpegError as error:
                log.debug("%s: %s", self.path, error)
                self.errors += 1
                if self.errors > MAX_ERRORS:
                    return
                # What follows refers to a picture that is not there, up to the next key frame.
                lost = wait_for_key = True
                continue
            for frame in frames:
                if not isinstance(frame, av.VideoFrame):
                    continue
                if frame.is_corrupt or (wait_for_key and not frame.key_frame):
                    # Damage spreads to all that refers to it, flagged or not. Before the first good frame there may be
                    # streams that never have a key frame (periodic intra refresh): these may start anywhere.
                    self.corrupt += 1
                    lost, wait_for_key = True, self.decoded > 0
                    continue
                self.decoded += 1
                yield frame, lost
                lost = wait_for_key = False

    def _counted(self, frames: Iterator[tuple[av.VideoFrame, bool]]) -> Iterator[tuple[av.VideoFrame, float, bool]]:
        """Without usable stamps: every frame (or every step-th) once, in the order they come."""
        for number, (frame, lost) in enumerate(frames):
            jump = lost and self.emitted > 0
            self.holes += jump
            if number % self.step == 0 or jump:
                yield frame, self.info.start + number / float(self.info.fps), jump

    def _on_grid(self, frames: Iterator[tuple[av.VideoFrame, bool]]) -> Iterator[tuple[av.VideoFrame, float, bool]]:
        """Each slot of the grid shows the frame with the nearest stamp: at a constant rate every frame exactly once.

        After a hole the count goes on with the next frame: slots without a picture are left out, not filled.
        """
        period = float(1 / self.fps)
        origin, slot, jump = self.info.start, 0, False
        last = origin - period / self.step
        shown: av.VideoFrame | None = None
        for frame, lost in frames:
            time = frame.time if frame.time is not None else last + period / self.step
            if shown is not None and time <= last:
                shown = frame  # a repeated or backward stamp: the later picture replaces the earlier one
                continue
            hole = shown is not None and (lost or time - last > MAX_HOLD)
            until = last + period / 2 if hole else (last + time) / 2
            while shown is not None and origin + slot * period < until:
                yield shown, origin + slot * period, jump
                slot, jump = slot + 1, False
            if shown is None or hole:
                if self.info.variable_rate:
                    origin, slot = time, 0
                else:
                    slot = round((time - origin) / period)
                jump = hole
                self.holes += hole
            shown, last = frame, time
        while shown is not None and origin + slot * period < last + period / 2:
            yield shown, origin + slot * period, jump
            slot, jump = slot + 1, False

    def _planes(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        turn, size = self.info.orientation, self.size
        if (frame.width, frame.height) != self.info.coded_size:
            size = working_size(*turn.size(*square_size(frame, self.info.pixel_aspect)), *self._limits)
        packed = np.asarray(self._normalise(frame, *turn.size(*size)).to_ndarray(), np.uint8)
        return packed if turn == orientation.UPRIGHT else _turned(packed, turn, size)


def _turned(packed: NDArray[np.uint8], turn: orientation.Orientation, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Packed planes of the stored picture turned upright, to packed planes of `size`."""
    width, height = size
    stored_width, stored_height = turn.size(width, height)
    luma, chroma = packed[:stored_height], packed[stored_height:].reshape(2, stored_height // 2, stored_width // 2)
    out = np.empty((height * 3 // 2, width), np.uint8)
    out[:height] = turn.apply(luma)
    out[height:] = np.stack([turn.apply(plane) for plane in chroma]).reshape(height // 2, width)
    return out
