"""Which frames of a long video are denoised together, and how much each window has to say about each of its frames.

A model made for 14 frames sees a longer video through windows that overlap. At each sampling step what the windows say
about a frame is averaged with triangle weights (progressive latent fusion, MimicMotion). All of it is arithmetic:
nothing here is as long as the video.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Windows:
    """Windows of `size` frames over a video of `frames`, each sharing `overlap` frames with the one before.

    The last window ends with the video, so it may share more. A video shorter than a window is one short window.
    Windows are numbered from 0 by their first frame. Raises ValueError where a number makes no sense.
    """

    frames: int
    size: int
    overlap: int

    def __post_init__(self) -> None:
        for name in ("frames", "size"):
            if getattr(self, name) < 1:
                raise ValueError(f"windows: {name} must be at least 1, not {getattr(self, name)}")
        if not 0 <= self.overlap < self.size:
            raise ValueError(
                f"windows: the overlap must be from 0 to {self.size - 1}, less than the window of {self.size} frames, "
                f"not {self.overlap}"
            )

    @property
    def stride(self) -> int:
        return self.size - self.overlap

    @property
    def count(self) -> int:
        return -(-max(0, self.frames - self.size) // self.stride) + 1

    @property
    def reach(self) -> int:
        """The largest difference of the numbers of two windows that share a frame."""
        last = self.count - 1
        return min(last, max((self.size - 1) // self.stride, last - self.neighbours(last).start))

    def frames_of(self, window: int) -> range:
        if not 0 <= window < self.count:
            raise IndexError(f"window {window} of {self.count}")
        start = max(0, min(window * self.stride, self.frames - self.size))
        return range(start, min(start + self.size, self.frames))

    def covering(self, frame: int) -> range:
        """The windows that contain this frame; at least one."""
        if not 0 <= frame < self.frames:
            raise IndexError(f"frame {frame} of {self.frames}")
        first = max(0, (frame - self.size) // self.stride + 1)
        ends_with_video = frame >= self.frames - self.size
        return range(first, self.count if ends_with_video else frame // self.stride + 1)

    def neighbours(self, window: int) -> range:
        """The windows that share a frame with this one, itself included."""
        span = self.frames_of(window)
        return range(self.covering(span[0]).start, self.covering(span[-1]).stop)

    def weight(self, window: int, frame: int) -> float:
        """How much this window counts in this frame: above 0, and 1 over all windows that contain the frame."""
        shares = {w: self._triangle(w, frame) for w in self.covering(frame)}
        return shares[window] / sum(shares.values())

    def _triangle(self, window: int, frame: int) -> float:
        span = self.frames_of(window)
        return min(frame - span[0] + 0.5, span[-1] - frame + 0.5)
