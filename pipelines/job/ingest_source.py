"""The ingest unit: what runs in the child process for one source."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from pipelines.engine.ledger import Outcome
from pipelines.ingest.clips import IngestConfig, IngestResult, ingest
from pipelines.ingest.sources import Source, localise
from pipelines.video.probe import BadVideo


def ingest_source(location: str, name: str, folder: Path, config: IngestConfig) -> Outcome:
    """Cut the video at `location` (a path or a URL) into clips in `folder`. A video of no use is quarantined.

    A remote video is copied beside the clips while it is read.
    """
    copies = folder / "copy"
    try:
        path = localise(Source(location, name), copies)
        result = ingest(path, folder, config)
    except BadVideo as error:
        return Outcome("quarantined", error.reason, str(error))
    except FileNotFoundError as error:
        return Outcome("quarantined", "not_found", f"{location}: was there when it was listed and is gone: {error}")
    finally:
        shutil.rmtree(copies, ignore_errors=True)
    return Outcome(info=_info(result), notes=result.notes, frames=result.frames)


def _info(result: IngestResult) -> dict[str, Any]:
    video = result.info
    return {
        "clips": [
            {
                "file": clip.file,
                "start_frame": clip.start_frame,
                "end_frame": clip.end_frame,
                "start_seconds": clip.start_time,
                "frames": clip.frames,
                "fps": [clip.fps.numerator, clip.fps.denominator],
                "size": list(clip.size),
                "bytes": clip.bytes,
            }
            for clip in result.clips
        ],
        "dropped": [
            {
                "start_frame": span.start_frame,
                "end_frame": span.end_frame,
                "frames": span.frames,
                "seconds": float(span.frames / result.fps),
                "reason": span.reason,
            }
            for span in result.dropped
        ],
        "frames": result.frames,
        "video": {
            "codec": video.codec,
            "container": video.container,
            "pix_fmt": video.pix_fmt,
            "width": video.width,
            "height": video.height,
            "rotation": video.orientation.rotation,
            "fps": [result.fps.numerator, result.fps.denominator],
            "variable_rate": video.variable_rate,
            "duration": video.duration,
            "has_audio": video.has_audio,
            "interlaced": video.interlaced,
            "hdr": video.hdr,
        },
    }
