"""What an uploaded file is, by its content. Runs in a fresh child process, so it imports little."""

from __future__ import annotations

from typing import Any

from pipelines.animate.picture import read_picture
from pipelines.video.probe import probe


def look_at(kind: str, path: str, min_side: int) -> dict[str, Any]:
    """Size, and for a driving video its length and rate. Raises `BadPicture` and `BadVideo`."""
    if kind == "reference":
        picture = read_picture(path, min_side)
        return {"width": picture.shape[1], "height": picture.shape[0]}
    info = probe(path, min_side=min_side)
    return {"width": info.width, "height": info.height, "seconds": round(info.duration, 2), "fps": float(info.fps)}
