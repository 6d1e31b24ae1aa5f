"""Person A doing B's motion, as truth: what no film of real people can show.

A's reference is a frame of a film of A. From the place where it shows A, A does what B does in another film: B's joint
angles, hands and jaw in A's body, clothes, room, light and camera. Lengths that B covers are multiplied by the ratio of
their legs, since the same angles on longer legs make longer steps.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.body.model import Body, load_body
from pipelines.clip import BodySequence
from pipelines.demo.film import Actor, act
from pipelines.demo.motions import Motion
from pipelines.engine.atomic import remove_unfinished, whole_file, write_whole
from pipelines.engine.run_lock import only_run
from pipelines.engine.setup_error import SetupError
from pipelines.engine.storage import open_store
from pipelines.groundtruth.clips import Clip, look_of, stage_of
from pipelines.groundtruth.make import Take
from pipelines.groundtruth.motions import perform_motion
from pipelines.groundtruth.openings import opened
from pipelines.groundtruth.people import Person, Split
from pipelines.groundtruth.picture import film
from pipelines.groundtruth.truth import fps_of, read_truth, takes_of
from pipelines.job.progress import Progress
from pipelines.shard_format import encode_body, pack_arrays
from pipelines.video.encode import ClipWriter

PAIRS = "cross/pairs.json"
_LEGS = ((1, 4), (4, 7), (2, 5), (5, 8))


@dataclass(frozen=True)
class Pair:
    """reference: the film that A's reference is a frame of, number `reference_frame`. driving: the film of B."""

    reference: Take
    driving: Take
    reference_frame: int

    @property
    def name(self) -> str:
        return f"{self.reference.clip.name}-as-{self.driving.clip.name}"


def choose_pairs(truth: Mapping[str, Any], split: Split, count: int) -> list[Pair]:
    """Pairs of different people: each person is A in turn, with films and drivers that were not taken yet as far as
    there are any, and of those with the driver whose shape is farthest.

    The reference is the last frame of A's film, when its opening is over. Nobody who comes from afar drives: the way to
    the camera would not fit where A stands. Raises SetupError where the split has not as many pairs.
    """
    takes = [take for take in takes_of(truth) if take.person.split == split]
    drivers = [take for take in takes if take.clip.performance.opening != "far"]
    left: dict[str, list[Pair]] = {}
    for reference in takes:
        others = [driving for driving in drivers if driving.person != reference.person]
        pairs = left.setdefault(reference.person.name, [])
        pairs += [Pair(reference, driving, truth["settings"]["frames"] - 1) for driving in others]
    available = sum(map(len, left.values()))
    if count > available:
        raise SetupError(f"--pairs: the {split} split has {available} pairs of different people, asked for: {count}")

    taken: Counter[str] = Counter()

    def rank(pair: Pair) -> tuple[int, float, str]:
        used = taken[pair.reference.clip.name] + taken["driving " + pair.driving.clip.name]
        return used, -_shape_distance(pair), pair.name

    chosen: list[Pair] = []
    for name in islice(cycle(sorted(left)), count * len(left)):
        if left[name] and len(chosen) < count:
            best = min(left[name], key=rank)
            left[name].remove(best)
            taken.update((best.reference.clip.name, "driving " + best.driving.clip.name))
            chosen.append(best)
    return chosen


def _shape_distance(pair: Pair) -> float:
    return float(np.linalg.norm(np.subtract(pair.reference.person.betas, pair.driving.person.betas)))


def crossed(body: Body, pair: Pair, frames: int, size: int, fps: Fraction) -> BodySequence:
    """A's body in A's camera doing what B does, from where the reference shows A. T = frames."""
    person, clip = pair.reference.person, pair.reference.clip
    seconds = np.arange(frames) / float(fps)

    def motion_of(person: Person, clip: Clip) -> Motion:
        done = clip.performance
        motion = perform_motion(done.motion, done.style, seconds)
        return opened(motion, done.opening, done.opening_side, stage_of(body, person, clip, size).distance)

    own, driving = motion_of(person, clip), motion_of(pair.driving.person, pair.driving.clip)
    ratio = _legs(body, person) / _legs(body, pair.driving.person)
    place = own.place[pair.reference_frame] + ratio * (driving.place - driving.place[0])
    motion = replace(driving, place=place, lift=ratio * driving.lift)
    stage = stage_of(body, person, clip, size)
    actor = Actor(person.betas, look_of(person.features, clip.clothes))
    return act(body, actor, motion, seconds, stage.camera, stage.height, stage.distance)


def _legs(body: Body, person: Person) -> float:
    joints = body.rest_joints(np.asarray(person.betas, np.float32))
    return sum(float(np.linalg.norm(joints[b] - joints[a])) for a, b in _LEGS)


def film_pairs(out: Path, split: Split, count: int) -> dict[str, Any]:
    """Film `count` pairs into `out/cross` and write `cross/pairs.json`, which is returned. What is there stays."""
    truth = read_truth(out)
    frames, size, fps = truth["settings"]["frames"], truth["settings"]["size"], fps_of(truth)
    pairs = choose_pairs(truth, split, count)
    body, folder = load_body(None), out / "cross"
    with only_run(open_store(folder)):
        remove_unfinished(folder)
        with Progress() as progress, progress.phase("film", len(pairs)) as advance:
            for pair in pairs:
                if not (folder / f"{pair.name}.truth.npz").is_file():
                    _film_pair(body, folder, pair, frames, size, fps)
                advance({})
        rows = [_row(pair, body) for pair in pairs]
        listed = {"version": truth["version"], "hash": truth["hash"], "split": split, "pairs": rows}
        write_whole(out / PAIRS, (json.dumps(listed, indent=1) + "\n").encode())
    return listed


def _film_pair(body: Body, folder: Path, pair: Pair, frames: int, size: int, fps: Fraction) -> None:
    sequence = crossed(body, pair, frames, size, fps)
    regions = np.empty((frames, size, size), np.uint8)
    with whole_file(folder / f"{pair.name}.mp4") as path, ClipWriter(path, (size, size), fps) as writer:
        for frame, filmed in enumerate(film(body, pair.reference.person, pair.reference.clip, sequence)):
            writer.write(filmed.picture)
            regions[frame] = filmed.regions
    write_whole(folder / f"{pair.name}.body.npz", encode_body(sequence))
    write_whole(folder / f"{pair.name}.truth.npz", pack_arrays({"regions": regions}))


def _row(pair: Pair, body: Body) -> dict[str, Any]:
    a, b = pair.reference, pair.driving
    return {
        "name": pair.name, "video": f"cross/{pair.name}.mp4", "regions": f"cross/{pair.name}.truth.npz",
        "body": f"cross/{pair.name}.body.npz", "reference": a.clip.name, "reference_frame": pair.reference_frame,
        "driving": b.clip.name, "reference_person": a.person.name, "driving_person": b.person.name,
        "legs": round(_legs(body, a.person) / _legs(body, b.person), 4),
    }  # fmt: skip
