"""What a benchmark with ground truth is made of."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from pipelines.engine.setup_error import SetupError

SIZES = (64, 512)


@dataclass(frozen=True)
class GroundTruthSettings:
    """seed: everything is drawn from it. frames: of every clip. size: pixels, the pictures are square.

    Raises SetupError where a value cannot be used.
    """

    seed: int = 0
    train_people: int = 40
    test_people: int = 8
    clips_per_person: int = 6
    frames: int = 32
    size: int = 256
    fps: Fraction = Fraction(12)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise SetupError(f"--seed: expected 0 or more, got {self.seed}")
        for name in ("train_people", "test_people"):
            if not 0 <= getattr(self, name) <= 9999:
                option = name.replace("_", "-")
                raise SetupError(f"--{option}: expected 0 to 9999, got {getattr(self, name)}")
        if not self.train_people + self.test_people:
            raise SetupError("--train-people and --test-people: nobody is left to film, ask for at least one person")
        if not 1 <= self.clips_per_person <= 99:
            raise SetupError(f"--clips-per-person: expected 1 to 99, got {self.clips_per_person}")
        if not 2 <= self.frames <= 10_000:
            raise SetupError(f"--frames: expected 2 to 10000, got {self.frames}")
        if not SIZES[0] <= self.size <= SIZES[1] or self.size % 8:
            raise SetupError(f"--size: expected a multiple of 8 from {SIZES[0]} to {SIZES[1]}, got {self.size}")
        if not 1 <= self.fps <= 120:
            raise SetupError(f"--fps: expected 1 to 120, got {self.fps}")
