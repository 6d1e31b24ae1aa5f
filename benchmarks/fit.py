"""The body fit on known bodies (recovery in millimetres) and its speed.

    python -m benchmarks.fit [--frames 288] [--keypoints FILE.npz ...]

A free body dances with known parameters; its key points, exact or with noise, with and without world landmarks, are
fitted and compared. `--keypoints` adds real clips: an npz with points (T, 133, 2), scores (T, 133), boxes (T, 4), size
(width, height) and, where there are any, world (T, 33, 3).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from pipelines.body.fit import FitResult, fit_sequence
from pipelines.body.model import Body, load_body
from pipelines.clip import BODY, FACE, LEFT_HAND, RIGHT_HAND, BodySequence, Keypoints
from tests.body.body_motions import SIZE, dance, observed

BETAS = np.array([1.2, -0.7, 0.5, 0.4, -0.6, 0.3, 0, 0, 0.5, -0.4], np.float32)


def millimetres(body: Body, result: FitResult, truth: BodySequence) -> tuple[float, float, float]:
    """Mean error of the 22 body joints, absolute and root-aligned, and of the left fingers from their wrist."""
    a, b = body.joints(result.sequence), body.joints(truth)
    joints = slice(0, 22)

    def mean(difference: np.ndarray) -> float:
        return 1000 * float(np.linalg.norm(difference, axis=-1).mean())

    absolute = mean(a[:, joints] - b[:, joints])
    aligned = mean((a[:, joints] - a[:, :1]) - (b[:, joints] - b[:, :1]))
    fingers = mean((a[:, 25:40] - a[:, 20:21]) - (b[:, 25:40] - b[:, 20:21]))
    return absolute, aligned, fingers


def height(body: Body, sequence: BodySequence) -> float:
    return float(np.ptp(body.shaped(sequence.betas)[:, 1]))


def recovery(body: Body, frames: int) -> Table:
    truth = dance(body, frames, BETAS)
    table = Table(title=f"A known body, {frames} frames of {SIZE[0]}x{SIZE[1]}: errors in millimetres")
    for column in ("noise", "world", "joints", "root-aligned", "fingers", "height", "re-projection", "frames/s (CPU)"):
        table.add_column(column, justify="right")
    for world in (True, False):
        for noise in (0.0, 3.0):
            keypoints = observed(body, truth, noise=noise, world=world)
            start = time.process_time()
            result = fit_sequence(body, keypoints, SIZE)
            seconds = time.process_time() - start
            off = height(body, result.sequence) / height(body, truth) - 1
            table.add_row(
                f"{noise:.0f} px", "yes" if world else "no", *(f"{v:.1f}" for v in millimetres(body, result, truth)),
                f"{off:+.2%}", f"{result.scores['reprojection']:.2%}", f"{frames / seconds:.1f}",
            )  # fmt: skip
    return table


def real(body: Body, files: list[Path]) -> Table:
    table = Table(title="Real clips: median re-projection error over the height of the person's box")
    for column in ("clip", "frames", "body", "face", "hands", "visible", "height", "frames/s (CPU)"):
        table.add_column(column, justify="right")
    for file in files:
        with np.load(file, allow_pickle=False) as arrays:
            world = arrays.get("world")
            keypoints = Keypoints(arrays["points"], arrays["scores"], arrays["boxes"], str(file), world)
            size = (int(arrays["size"][0]), int(arrays["size"][1]))
        start = time.process_time()
        result = fit_sequence(body, keypoints, size)
        seconds = time.process_time() - start
        relative = result.errors / (keypoints.boxes[:, 3] - keypoints.boxes[:, 1])[:, None]

        def median(*parts: slice, errors: np.ndarray = relative) -> str:
            chosen = np.concatenate([errors[:, part].ravel() for part in parts])
            chosen = chosen[np.isfinite(chosen)]
            return f"{np.median(chosen):.2%}" if len(chosen) else "unseen"

        table.add_row(
            file.stem, str(len(keypoints)), median(BODY), median(FACE), median(LEFT_HAND, RIGHT_HAND),
            f"{result.scores['visible']:.0%}", f"{height(body, result.sequence):.2f} m",
            f"{len(keypoints) / seconds:.1f}",
        )  # fmt: skip
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=96)
    parser.add_argument("--keypoints", type=Path, nargs="*", default=[])
    arguments = parser.parse_args()
    body, console = load_body(), Console()
    fit_sequence(body, observed(body, dance(body, 2, BETAS)), SIZE)  # the first call compiles and imports
    console.print(recovery(body, arguments.frames))
    if arguments.keypoints:
        console.print(real(body, arguments.keypoints))


if __name__ == "__main__":
    main()
