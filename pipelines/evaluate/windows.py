"""Which clips of a video the video metrics see."""

from __future__ import annotations

LENGTH = 16
ALL = "every 16 consecutive frames, stride 1"
DISCO = "every 16 consecutive frames, stride 1, without the last such clip"


def count(frames: int, rule: str) -> int:
    """How many clips of `LENGTH` frames a video gives.

    DisCo's script ends its loop one early (tool/video/gen_gifs_for_fvd.py: starts 0 to frames - 17), so that a video of
    exactly 16 frames gives none. Raises ValueError for another rule.
    """
    clips = max(0, frames - LENGTH + 1)
    if rule == ALL:
        return clips
    if rule == DISCO:
        return max(0, clips - 1)
    raise ValueError(f"there is no clip rule {rule!r}; there are {ALL!r} and {DISCO!r}")
