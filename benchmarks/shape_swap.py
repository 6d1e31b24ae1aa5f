"""Shape swapping against the truth: person A doing B's motion, filmed, beside what the project's swap makes of it.

    python -m benchmarks.shape_swap [--out scratch/shape_swap] [--pairs 16] [--people 8] [--frames 24] [--size 256]

Makes a benchmark of test people and its pairs (`vividpose groundtruth make` and `cross`; what is there stays), and
compares the body map of the truth (A's body in A's camera doing B's motion) with three others, in both of two settings:

* known: the bodies of reference and driver are the true ones; only the swap is measured.
* estimated: A's body is fitted to one frame of A's film, B's to B's film, as the lite profile of `vividpose animate`
  does.

The three: the driver's body as it is; the driver's shape put where the reference stands; and the swap. LPIPS is not
measured: it needs VGG weights, which are not shipped. Writes shape_swap.json, shape_swap.md and shape_swap.png.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.animate.person import PersonFinder
from pipelines.animate.spans import part_of_body
from pipelines.body.fit import fit_sequence
from pipelines.body.fit_config import FitError
from pipelines.body.model import Body, load_body
from pipelines.body.render import render_sequence
from pipelines.body.swap import SwapConfig, swap
from pipelines.clip import BodySequence
from pipelines.engine.atomic import write_whole
from pipelines.evaluate.metrics.bootstrap import of_mean
from pipelines.groundtruth.cross import film_pairs
from pipelines.groundtruth.make import make_groundtruth
from pipelines.groundtruth.settings import GroundTruthSettings
from pipelines.shard_format import decode_body
from pipelines.stages.keypoints_blazepose import BlazePoseWholeBody
from pipelines.stages.people import PeopleConfig
from pipelines.video.reader import ClipReader

METHODS = {
    "driver": "the driver's body as it is (no swap)",
    "placed": "the driver's shape where the reference stands",
    "swapped": "the swap: the reference's shape",
}
SOURCES = ("known", "estimated")
RESAMPLES = 2000
Maps = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@dataclass(frozen=True)
class Score:
    """Means over the frames of a pair, 0 to 1. iou: of the silhouettes. l1: of the shaded maps, whole picture."""

    pair: str
    source: str
    method: str
    iou: float
    l1: float


def maps(body: Body, sequence: BodySequence) -> Maps:
    """The body maps of a sequence: shaded uint8 (T, H, W, 3), labels uint8 (T, H, W)."""
    shaded, labels = zip(*render_sequence(body, sequence), strict=True)
    return np.stack(shaded), np.stack(labels)


def compared(truth: Maps, other: Maps) -> tuple[float, float]:
    """(mean IoU of the silhouettes, mean absolute difference of the shaded maps over 255)."""
    mine, theirs = truth[1] > 0, other[1] > 0
    union = (mine | theirs).sum(axis=(1, 2))
    iou = (mine & theirs).sum(axis=(1, 2)) / np.maximum(union, 1)
    return float(iou.mean()), float(np.abs(truth[0].astype(np.float32) - other[0]).mean() / 255)


class Estimator:
    """The lite path on the films: find the person, key points, fit. Each film is estimated once."""

    def __init__(self, body: Body, out: Path, fps: Fraction) -> None:
        self.body, self.out, self.fps = body, out, fps
        self.find, self.points = PersonFinder(PeopleConfig(), None), BlazePoseWholeBody()
        self.film = cache(self._film)
        self.picture = cache(self._picture)

    def _film(self, video: str) -> BodySequence:
        with ClipReader(self.out / video) as reader:
            return self._fit(reader.frames(range(len(reader))))

    def _picture(self, video: str, frame: int) -> BodySequence:
        with ClipReader(self.out / video) as reader:
            return self._fit(reader.frames([frame]))

    def _fit(self, frames: NDArray[np.uint8]) -> BodySequence:
        """Raises FitError where nobody is found or the points do not allow a fit."""
        people = self.find(frames, float(self.fps))
        if people.reason:
            raise FitError(people.reason, "no person was found")
        size = (frames.shape[2], frames.shape[1])
        return fit_sequence(self.body, self.points(frames, people.boxes), size).sequence


def bodies(out: Path, row: Mapping[str, object], clips: Mapping[str, Mapping[str, str]], source: str,
           estimator: Estimator) -> tuple[BodySequence, BodySequence]:  # fmt: skip
    """The reference's body in its one frame and the driver's in all."""
    reference, driving = clips[str(row["reference"])], clips[str(row["driving"])]
    frame = int(str(row["reference_frame"]))
    if source == "estimated":
        return estimator.picture(reference["video"], frame), estimator.film(driving["video"])
    of_reference, of_driving = (decode_body((out / clip["body"]).read_bytes()) for clip in (reference, driving))
    return part_of_body(of_reference, slice(frame, frame + 1)), of_driving


def methods(
    body: Body, reference: BodySequence, driving: BodySequence, config: SwapConfig
) -> dict[str, BodySequence]:
    placed = replace(reference, betas=driving.betas)
    made = {"placed": swap(placed, driving, body, config), "swapped": swap(reference, driving, body, config)}
    return {"driver": driving, **made}


def measure(
    out: Path, truth: Mapping, listed: Mapping, sources: Sequence[str], config: SwapConfig
) -> tuple[list[Score], list[str]]:
    """The scores of every pair, source and method, and what could not be estimated. Writes the picture as it goes."""
    body = load_body(None)
    clips = {clip["name"]: clip for clip in truth["clips"]}
    estimator = Estimator(body, out, Fraction(*truth["settings"]["fps"]))
    scores, failed, strips = [], [], []
    for row in listed["pairs"]:
        true = maps(body, decode_body((out / row["body"]).read_bytes()))
        overlays = []
        for source in sources:
            try:
                reference, driving = bodies(out, row, clips, source, estimator)
            except FitError as error:
                failed.append(f"{row['name']}: {error.reason}")
                continue
            for method, sequence in methods(body, reference, driving, config).items():
                made = maps(body, sequence)
                scores.append(Score(row["name"], source, method, *compared(true, made)))
                overlays.append(_overlay(true[1], made[1]))
        print(row["name"], {(s.source, s.method): round(s.iou, 3) for s in scores if s.pair == row["name"]}, flush=True)
        with ClipReader(out / row["video"]) as reader:
            strips.append(np.concatenate([reader.frames([len(reader) * 2 // 3])[0], *overlays], axis=1))
    width = max(strip.shape[1] for strip in strips)
    sheet = np.concatenate([np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0))) for s in strips])
    cv2.imwrite(str(out / "shape_swap.png"), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    return scores, failed


def _overlay(truth: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One frame: white where both are, red where only the truth is, blue where only the other is."""
    at = len(truth) * 2 // 3
    mine, theirs = truth[at] > 0, other[at] > 0
    picture = np.zeros((*mine.shape, 3), np.uint8)
    picture[mine & theirs], picture[mine & ~theirs], picture[~mine & theirs] = 235, (230, 60, 50), (60, 110, 240)
    return picture


def table(scores: Sequence[Score], failed: Sequence[str]) -> str:
    """Markdown: means over pairs with the 95 % interval of drawing pairs again, and differences pair by pair."""

    def told(values: Sequence[float]) -> str:
        interval = of_mean(np.asarray(values, np.float64), np.ones(len(values)), RESAMPLES, 0)
        spread = f" [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else ""
        return f"{np.mean(values):.4f}{spread}"

    lines = ["| bodies | map | pairs | silhouette IoU | L1 |", "|---|---|---|---|---|"]
    for source in SOURCES:
        by = {method: [s for s in scores if (s.source, s.method) == (source, method)] for method in METHODS}
        if not by["swapped"]:
            continue
        for method, words in METHODS.items():
            rows = by[method]
            lines.append(f"| {source} | {words} | {len(rows)} | {told([s.iou for s in rows])} | "
                         f"{told([s.l1 for s in rows])} |")  # fmt: skip
        for method in ("driver", "placed"):
            better = [(a.iou - b.iou, a.l1 - b.l1) for a, b in zip(by["swapped"], by[method], strict=True)]
            wins = sum(iou > 0 for iou, _ in better)
            iou, l1 = (told([pair[column] for pair in better]) for column in (0, 1))
            words = f"swap minus {method} ({wins} pairs with a better IoU)"
            lines.append(f"| {source} | {words} | {len(better)} | {iou} | {l1} |")
    lines += ["", "In brackets: 95 % interval over draws of pairs. LPIPS is absent: it needs VGG weights, not shipped."]
    lines += [f"Not estimated: {line}" for line in failed]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("scratch/shape_swap"))
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--clips-per-person", type=int, default=3)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--anchor", choices=("auto", "feet", "pelvis", "neck"), default="auto", help="of the swap")
    parser.add_argument("--known-only", action="store_true", help="leave the estimators out")
    options = parser.parse_args()
    settings = GroundTruthSettings(
        options.seed, 0, options.people, options.clips_per_person, options.frames, options.size
    )
    truth = make_groundtruth(options.out, settings)
    listed = film_pairs(options.out, "test", options.pairs)
    sources = SOURCES[:1] if options.known_only else SOURCES
    scores, failed = measure(options.out, truth, listed, sources, SwapConfig(anchor=options.anchor))
    text = table(scores, failed)
    facts = {"settings": truth["settings"], "films": truth["hash"], "anchor": options.anchor, "failed": failed,
             "scores": list(map(asdict, scores))}  # fmt: skip
    write_whole(options.out / "shape_swap.json", (json.dumps(facts, indent=1) + "\n").encode())
    write_whole(options.out / "shape_swap.md", text.encode())
    print(text)


if __name__ == "__main__":
    main()
