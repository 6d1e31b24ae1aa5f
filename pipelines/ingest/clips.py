"""One video in, clips out: a single streaming decode, cut at shots, normalised, written as the project's own clips.

The working size has a short side of at most 768: a training crop of 512 x 768 then fits into a landscape clip at its
native scale. Smaller sources keep their size, because enlarging adds bytes and no detail.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor
from pathlib import Path

from pipelines.ingest.shots import find_shots
from pipelines.ingest.spans import Splitter
from pipelines.video.decode import Decoder, Picture
from pipelines.video.encode import CRF, ClipWriter
from pipelines.video.probe import VideoInfo, probe

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class IngestConfig:
    """min_seconds, max_seconds: bounds of a clip; the latter at least twice the former.
    short_side, long_side: pixels, upper bounds of the working size. min_side: pixels, least short side of a source.
    max_fps: faster sources are thinned to every n-th frame. cut_ratio, cut_score, black_level: see `shots.find_shots`.
    crf: see `video.encode`.
    """

    min_seconds: float = 2.0
    max_seconds: float = 20.0
    short_side: int = 768
    long_side: int = 2048
    min_side: int = 256
    max_fps: float = 60.0
    cut_ratio: float = 3.0
    cut_score: float = 15.0
    black_level: float = 12.0
    crf: int = CRF

    def __post_init__(self) -> None:
        if not 0 < 2 * self.min_seconds <= self.max_seconds:
            raise ValueError(
                f"max_seconds must be at least twice min_seconds, got {self.max_seconds:g} and {self.min_seconds:g}"
            )
        if not 2 <= self.min_side <= self.short_side <= self.long_side:
            sides = f"{self.min_side}, {self.short_side}, {self.long_side}"
            raise ValueError(f"expected 2 <= min_side <= short_side <= long_side, got {sides}")


@dataclass(frozen=True)
class ClipRecord:
    """A written clip. file: name inside the output folder. start_frame, end_frame: the span [start, end) in the
    constant-rate sequence of the source. start_time: seconds on the source's clock. size: (width, height)."""

    file: str
    start_frame: int
    end_frame: int
    start_time: float
    fps: Fraction
    size: tuple[int, int]
    bytes: int
    sha256: str

    @property
    def frames(self) -> int:
        return self.end_frame - self.start_frame


@dataclass(frozen=True)
class DroppedSpan:
    """Frames [start_frame, end_frame) that are in no clip. reason: shot_too_short or black."""

    start_frame: int
    end_frame: int
    start_time: float
    reason: str

    @property
    def frames(self) -> int:
        return self.end_frame - self.start_frame


@dataclass(frozen=True)
class IngestResult:
    """Clips and dropped spans together cover [0, frames) exactly once. notes: what was odd about the source."""

    clips: tuple[ClipRecord, ...]
    dropped: tuple[DroppedSpan, ...]
    frames: int
    fps: Fraction
    info: VideoInfo
    notes: tuple[str, ...]


@dataclass
class _ClipFiles:
    """The sink of the splitter: one file a clip."""

    folder: Path
    fps: Fraction
    crf: int
    clips: list[ClipRecord] = field(default_factory=list)
    dropped: list[DroppedSpan] = field(default_factory=list)
    _first: Picture | None = None
    _writer: ClipWriter | None = None

    def begin(self) -> None:
        self._first = None

    def add(self, frame: Picture) -> None:
        if self._writer is None or self._first is None:
            self._first = frame
            path = self.folder / f"{len(self.clips):05d}.mp4"
            self._writer = ClipWriter(path, frame.size, self.fps, crf=self.crf)
        self._writer.write(frame.planes)

    def end(self) -> None:
        writer, first = self._writer, self._first
        if writer is None or first is None:
            raise RuntimeError("a clip ended that was never begun")
        self._writer = None
        writer.finish()
        with open(writer.path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self.clips.append(
            ClipRecord(
                file=writer.path.name,
                start_frame=first.index,
                end_frame=first.index + writer.frames,
                start_time=round(first.time, 6),
                fps=self.fps,
                size=writer.size,
                bytes=writer.path.stat().st_size,
                sha256=digest,
            )
        )

    def drop(self, first: Picture, count: int, reason: str = "shot_too_short") -> None:
        self.dropped.append(DroppedSpan(first.index, first.index + count, round(first.time, 6), reason))

    def abort(self) -> None:
        if self._writer is not None:
            self._writer.discard()


def ingest(path: Path | str, out_dir: Path | str, config: IngestConfig | None = None) -> IngestResult:
    """Split one video into clips `00000.mp4`, `00001.mp4`, ... in `out_dir`, made if absent.

    Memory: min_seconds of working-size pictures and the encoder's few dozen, whatever the length of the video. Ten
    minutes of 1080 x 1920 at 24 frames a second took 296 MB, and a CPU second for every 46 frames.

    The same file and configuration give the same bytes. Raises BadVideo when the file is no use; what it had written up
    to then may be left in `out_dir`, so give a temporary folder and rename it. A video whose shots are all too short
    raises nothing: it has no clips, and `dropped` says why.
    """
    config = config or IngestConfig()
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    info = probe(path, min_side=config.min_side, min_seconds=config.min_seconds)
    decoder = Decoder(
        path, info, short_side=config.short_side, long_side=config.long_side, max_fps=config.max_fps
    )  # fmt: skip
    files = _ClipFiles(out_dir, decoder.fps, config.crf)
    shortest = max(2, ceil(Fraction(config.min_seconds) * decoder.fps))
    longest = max(2 * shortest, floor(Fraction(config.max_seconds) * decoder.fps))
    splitter = Splitter(shortest, longest, files)
    shots = find_shots(
        decoder, decoder.fps, cut_ratio=config.cut_ratio, cut_score=config.cut_score, black_level=config.black_level
    )
    black: Picture | None = None
    count = 0
    try:
        for frame in shots:
            if black is not None and (frame.starts_shot or not frame.black):
                files.drop(black, count, "black")
                black = None
            if frame.black:
                splitter.end_shot()
                black, count = (frame.picture, 1) if black is None else (black, count + 1)
            else:
                splitter.push(frame.picture, frame.starts_shot)
        splitter.end_shot()
    except BaseException:
        files.abort()
        raise
    if black is not None:
        files.drop(black, count, "black")
    dropped = tuple(sorted(files.dropped, key=lambda span: span.start_frame))
    return IngestResult(tuple(files.clips), dropped, decoder.emitted, decoder.fps, info, tuple(decoder.notes))
