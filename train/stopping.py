"""Why a run should end early: a signal, a file, or the end of its allotted time."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Stopping:
    """Remembers signals, looks for the file `stop`, and knows the deadline: `--time-limit`, or Slurm's end of the job,
    whichever comes first.

    file: a launcher that is signalled gives its ranks half a minute and then kills them; a file leaves them the time
    that a checkpoint needs.
    margin: seconds kept free at the end; it grows to three times the slowest step and checkpoint seen, so that a last
    checkpoint has its time.
    """

    def __init__(self, file: Path, seconds: float | None = None, margin: float = 60.0) -> None:
        self.file = file
        slurm = os.environ.get("SLURM_JOB_END_TIME")
        ends = [time.time() + seconds] if seconds is not None else []
        ends += [float(slurm)] if slurm else []
        self.deadline = min(ends, default=None)
        self.margin = margin if slurm else 0.0
        self._slowest: dict[str, float] = {}
        self._signal: str | None = None

    def listen(self) -> None:
        """Take over SIGTERM and SIGUSR1 of this process. A second SIGTERM ends it at once, as usual."""
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signal = signal.Signals(number).name
        signal.signal(number, signal.SIG_DFL)

    def took(self, what: str, seconds: float) -> None:
        """Tell how long a step or a checkpoint took."""
        self._slowest[what] = max(seconds, self._slowest.get(what, 0.0))

    def reason(self) -> str | None:
        """Why to stop now, or None."""
        if self._signal:
            return self._signal
        if self.file.exists():
            return f"the file {self.file}"
        if self.deadline is None:
            return None
        left = self.deadline - time.time()
        wanted = max(self.margin, 3 * sum(self._slowest.values())) if self.margin else 0.0
        return "the time limit" if left <= wanted else None
