"""Films all clips of a benchmark into a folder, with the truth about them. Killed and started again, it goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.body.model import Body, load_body
from pipelines.engine.atomic import create_once, digest, file_digest, remove_unfinished, whole_file, write_whole
from pipelines.engine.run_lock import only_run
from pipelines.engine.setup_error import SetupError
from pipelines.engine.storage import open_store
from pipelines.engine.threads import one_thread
from pipelines.groundtruth.clips import Clip, draw_clip, opening_of, perform
from pipelines.groundtruth.people import CODE_NAME, SPLITS, Person, draw_person, identity_code
from pipelines.groundtruth.picture import film
from pipelines.groundtruth.settings import GroundTruthSettings
from pipelines.job.progress import Progress
from pipelines.shard_format import encode_body, pack_arrays
from pipelines.video.encode import ClipWriter

VERSION = 1
"""Raised when the same settings give other clips."""
LICENCE, DATE = "CC0-1.0", "20260101"
SETTINGS = "truth/settings.json"
CLIPS = "truth/clips.json"
IDENTITIES = "truth/identities.npz"
_FOLDERS = ("videos/train", "videos/test", "truth", "truth/regions", "truth/bodies", "truth/records")


@dataclass(frozen=True)
class Take:
    """A clip and its person: all that a process needs to film it."""

    person: Person
    clip: Clip

    def video(self) -> str:
        return f"videos/{self.person.split}/{self.clip.name}.mp4"

    def record(self) -> str:
        return f"truth/records/{self.clip.name}.json"


def planned_takes(settings: GroundTruthSettings) -> list[Take]:
    """Every clip of the benchmark, drawn; by split, person and number."""
    people = {"train": settings.train_people, "test": settings.test_people}
    takes = []
    for split in SPLITS:
        for number in range(people[split]):
            person = draw_person(settings.seed, split, number)
            takes += [Take(person, draw_clip(settings.seed, person, k)) for k in range(settings.clips_per_person)]
    return takes


def make_groundtruth(out: Path | str, settings: GroundTruthSettings, workers: int = 1) -> dict[str, Any]:
    """Film what is missing in `out` and write `truth/clips.json`, which is returned.

    The files depend on the settings and the body file alone, not on `workers` (processes). More people or clips with
    otherwise equal settings add to a folder that is there. Raises SetupError where the folder holds another benchmark,
    Busy where another run is at work on it, DiskFull.
    """
    out = Path(out)
    takes = planned_takes(settings)
    with only_run(open_store(out / "truth")):
        for folder in _FOLDERS:
            (out / folder).mkdir(parents=True, exist_ok=True)
            remove_unfinished(out / folder)
        _check_settings(out, settings)
        _check_records(out, takes)
        left = [take for take in takes if not _whole(out, take)]
        with Progress() as progress, progress.phase("film", len(left)) as advance:
            for _ in _filmed(out, left, settings, workers):
                advance({})
        return _write_truth(out, settings, takes)


def film_take(out: Path, take: Take, settings: GroundTruthSettings) -> None:
    """Write a clip's files, its record last."""
    body, name = _free_body(), take.clip.name
    own = take.clip.performance
    sequence = perform(body, take.person, take.clip, own, settings.frames, settings.size, settings.fps)
    regions = np.empty((settings.frames, settings.size, settings.size), np.uint8)
    with whole_file(out / take.video()) as path:
        with ClipWriter(path, (settings.size, settings.size), settings.fps) as writer:
            for frame, filmed in enumerate(film(body, take.person, take.clip, sequence)):
                writer.write(filmed.picture)
                regions[frame] = filmed.regions
        sha256 = file_digest(path)
    title = f"{take.person.name}: {take.clip.performance.motion}"
    side_car = {"title": title, "uploader": take.person.name, "license": LICENCE, "upload_date": DATE}
    write_whole((out / take.video()).with_suffix(".info.json"), _json(side_car))
    write_whole(out / f"truth/regions/{name}.npz", pack_arrays({"regions": regions}))
    write_whole(out / f"truth/bodies/{name}.npz", encode_body(sequence))
    write_whole(out / take.record(), _json(_entry(take, settings, sha256)))


def _entry(take: Take, settings: GroundTruthSettings, sha256: str) -> dict[str, Any]:
    clip = take.clip
    return {
        "name": clip.name, "split": take.person.split, "person": clip.person, "motion": clip.performance.motion,
        "video": take.video(), "sha256": sha256, "regions": f"truth/regions/{clip.name}.npz",
        "body": f"truth/bodies/{clip.name}.npz", "frames": settings.frames, "size": [settings.size, settings.size],
        "fps": _pair(settings.fps), "opening": clip.performance.opening,
        "opening_frames": opening_of(clip, settings.frames), "framing": clip.framing, "drawn": asdict(clip),
    }  # fmt: skip


def _filmed(out: Path, takes: list[Take], settings: GroundTruthSettings, workers: int) -> Iterator[None]:
    if workers <= 1 or len(takes) <= 1:
        for take in takes:
            film_take(out, take, settings)
            yield
        return
    with ProcessPoolExecutor(min(workers, len(takes)), get_context("spawn"), initializer=one_thread) as pool:
        futures: list[Future[None]] = [pool.submit(film_take, out, take, settings) for take in takes]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise SetupError(
                "a process that films was ended from outside, perhaps for want of memory: run again with fewer than "
                f"{workers} --workers; what is finished stays"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


@lru_cache(maxsize=1)
def _free_body() -> Body:
    return load_body(None)


def _check_settings(out: Path, settings: GroundTruthSettings) -> None:
    """What must not differ between runs into one folder. The number of people and clips may grow."""
    asked = {"version": VERSION, "seed": settings.seed, "frames": settings.frames, "size": settings.size,
             "fps": _pair(settings.fps), "body_hash": _free_body().hash}  # fmt: skip
    if create_once(out / SETTINGS, _json(asked)):
        return
    there = _read(out / SETTINGS)
    other = [f"{key} {there.get(key)} (asked for: {value})" for key, value in asked.items() if there.get(key) != value]
    if other:
        raise SetupError(f"{out} holds a benchmark of other settings: {'; '.join(other)}. Choose another folder, or "
                         "remove this one")  # fmt: skip


def _check_records(out: Path, takes: list[Take]) -> None:
    asked = {take.clip.name for take in takes}
    more = [path for path in sorted((out / "truth/records").glob("*.json")) if path.stem not in asked]
    if more:
        raise SetupError(
            f"{out} holds {len(more)} clips more than were asked for ({more[0].stem}, ...): ask for as many people and "
            "clips as before or more, or choose another folder"
        )


def _whole(out: Path, take: Take) -> bool:
    return (out / take.record()).is_file() and (out / take.video()).is_file()


def _write_truth(out: Path, settings: GroundTruthSettings, takes: list[Take]) -> dict[str, Any]:
    people = list({take.person.name: take.person for take in takes}.values())
    names = np.array([person.name for person in people])
    codes = np.stack([identity_code(person.features) for person in people])
    write_whole(out / IDENTITIES, pack_arrays({"person": names, "code": codes}))
    clips = [_read(out / take.record()) for take in takes]
    truth = {
        "version": VERSION, "settings": {**asdict(settings), "fps": _pair(settings.fps)},
        "body_hash": _free_body().hash, "identity_code": CODE_NAME,
        "people": [{"person": person.name, **{k: v for k, v in asdict(person).items() if k != "name"}}
                   for person in people],
        "clips": clips, "hash": digest([[clip["name"], clip["sha256"]] for clip in clips]),
    }  # fmt: skip
    write_whole(out / CLIPS, _json(truth))
    return truth


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise SetupError(f"{path} is damaged ({error}): remove it and run again") from error


def _pair(fps: Fraction) -> list[int]:
    return [fps.numerator, fps.denominator]


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()
