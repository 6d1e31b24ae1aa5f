"""Taking the span of a driving video that a job wants, as a clip of our own. Runs in a child process."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

from pipelines.engine.ledger import Outcome
from pipelines.video.decode import Decoder
from pipelines.video.encode import ClipWriter
from pipelines.video.probe import BadVideo, probe

CLIP_FILE = "clip.mp4"


def take_driver(
    path: str, folder: Path, start: float, seconds: float | None, fps: float | None, min_side: int
) -> Outcome:
    """Write the frames of [start, start + seconds) into `folder`, upright and at a constant rate.

    fps: frames a second to take, the nearest in time; None, or more than the video has: its own. The arithmetic is that
    of the training stream. Streams: memory does not depend on the length.
    """
    try:
        return _take(Path(path), folder / CLIP_FILE, start, seconds, fps, min_side)
    except BadVideo as error:
        return Outcome("quarantined", error.reason, str(error))


def _take(path: Path, target: Path, start: float, seconds: float | None, fps: float | None, min_side: int) -> Outcome:
    info = probe(path, min_side=min_side)
    decoder = Decoder(path, info)
    step = max(decoder.fps / Fraction(fps).limit_denominator(100_000), Fraction(1)) if fps else Fraction(1)
    rate = decoder.fps / step
    first: float | None = None
    last = 0.0
    writer: ClipWriter | None = None
    taken = 0
    wanted = 0  # number, within the span, of the next frame to take
    seen = 0
    try:
        for picture in decoder:
            at = picture.time - info.start
            # Stamps are rounded: a frame that is due at the start of the span belongs to it.
            if at < start - 1e-4:
                continue
            if seconds is not None and at >= start + seconds - 1e-4:
                break
            if writer is None:
                writer, first = ClipWriter(target, picture.size, rate), at
            if seen == wanted:
                writer.write(picture.planes)
                taken += 1
                last = at
                wanted = (taken * step + Fraction(1, 2)).__floor__()
            seen += 1
    except BaseException:
        if writer is not None:
            writer.discard()
        raise
    if writer is None or first is None:
        return Outcome(
            "quarantined",
            "empty_span",
            f"{path}: lasts {info.duration:.2f} s; the span from {start:g} s"
            f"{'' if seconds is None else f' of {seconds:g} s'} has no frames",
        )
    writer.finish()
    facts: dict[str, Any] = {
        "fps": [rate.numerator, rate.denominator],
        "size": list(writer.size),
        "frames": taken,
        "start": round(first, 6),
        "end": round(last, 6),
        "has_audio": info.has_audio,
        "source_fps": [info.fps.numerator, info.fps.denominator],
        "duration": round(info.duration, 6),
    }
    return Outcome(info=facts, notes=tuple(decoder.notes if seconds is None else info.notes), frames=taken)
