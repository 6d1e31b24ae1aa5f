"""In which order the windows of a long video take their sampling steps.

Step s of a window needs step s-1 of the windows that share frames with it, and of no other. So there is no need to
take step 0 everywhere, then step 1 everywhere, with the whole video in memory: the most advanced window that can go on
does, and a new window is begun only where nothing else is possible. The windows under way form a wave front of about
one window per step, which moves through the video; behind it frames are finished, before it nothing exists yet.

A cell is one step of one window. Cells whose needs are met are independent of each other: any of them may be computed
at the same time on different devices, in any order, with the same result.
"""

from __future__ import annotations

from dataclasses import dataclass

from model.windows import Windows


@dataclass(frozen=True, order=True)
class Cell:
    window: int
    step: int


class Wavefront:
    """Hands out the cells of `windows` x `steps`, each once, as soon as its needs are met.

    workers: how many cells are computed at once. More workers need more windows under way to stay busy.
    """

    def __init__(self, windows: Windows, steps: int, workers: int = 1) -> None:
        if steps < 1:
            raise ValueError(f"sampling needs at least one step, not {steps}")
        if workers < 1:
            raise ValueError(f"sampling needs at least one worker, not {workers}")
        self.windows = windows
        self.steps = steps
        # The first window's last step needs `reach` windows per earlier step. Each further worker follows the one
        # before at a distance of one window's neighbours.
        self.limit = windows.reach * (steps - 1) + 1 + (workers - 1) * (windows.reach + 1)
        self._first = 0  # all windows before it are done
        self._done: dict[int, int] = {}  # steps taken by the windows from `_first` on; 0 where there is no entry
        self._taken: set[int] = set()

    @property
    def finished(self) -> bool:
        return self._first == self.windows.count

    def take(self) -> Cell | None:
        """The most advanced cell that can be computed now; None while all others wait for cells that are being
        computed, and at the end."""
        for window in range(self._first, min(self._first + self.limit, self.windows.count)):
            if self._ready(window):
                self._taken.add(window)
                return Cell(window, self._steps_of(window))
        return None

    def finish(self, cell: Cell) -> None:
        """To be called once for each cell taken, when its result is there."""
        if cell.window not in self._taken or cell.step != self._steps_of(cell.window):
            raise ValueError(f"{cell} was not taken, or is already finished")
        self._taken.remove(cell.window)
        self._done[cell.window] = cell.step + 1
        while self._done.get(self._first) == self.steps:
            del self._done[self._first]
            self._first += 1

    def _steps_of(self, window: int) -> int:
        return self.steps if window < self._first else self._done.get(window, 0)

    def _ready(self, window: int) -> bool:
        step = self._steps_of(window)
        if window in self._taken or step == self.steps:
            return False
        return all(self._steps_of(other) >= step for other in self.windows.neighbours(window))
