"""A dataset with known faults: what an audit must find, made from the free body with exactly known key points.

Nothing is estimated: key points are the body's own, projected, with a little noise. Face vectors are made-up codes, one
per person, with noise that puts two clips of a person at a cosine of about 0.6; the recogniser is called `known_code`.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.audit.planted_faults import ALTERATIONS, CORRUPTIONS, FPS, Clip, corrupted, swap_sides
from pipelines.audit.planted_film import Take, film_take, random_take
from pipelines.audit.schema import MANIFEST, audit_folder
from pipelines.audit.split import PARTS, PARTS_SCHEMA
from pipelines.body.model import Body, load_body
from pipelines.clip import Keypoints
from pipelines.engine.atomic import digest, file_digest, write_whole
from pipelines.shard_format import (
    FACE_WIDTH,
    MEMBERS,
    SCHEMA_VERSION,
    Face,
    encode_body,
    encode_face,
    encode_keypoints,
    encode_meta,
)
from pipelines.video.encode import encode_clip, encode_maps


@dataclass(frozen=True)
class Recipe:
    """How many clips have which fault; the rest up to `clips` are fine. leaks: people who are in both parts.

    shard: clips a shard. counted: besides the crowds, every so many clips come without a number of people, which the
    audit must then count. maps: render the body's maps, which no check looks at.
    """

    clips: int = 300
    people: int = 60
    frames: int = 24
    exact: int = 20
    near: int = 20
    leaks: int = 15
    cuts: int = 10
    frozen: int = 10
    crowds: int = 10
    unknown: int = 20
    corrupt: int = 5
    swapped: int = 5
    shard: int = 50
    counted: int = 8
    maps: bool = False


SMALL = Recipe(clips=40, people=8, frames=14, exact=3, near=4, leaks=2, cuts=2, frozen=2, crowds=2, unknown=3,
               corrupt=5, swapped=2, shard=20, counted=40)  # fmt: skip


@dataclass
class Truth:
    """Keys of the clips with each fault. pairs: (kind, original, copy). leaking: numbers of people in two parts."""

    faults: dict[str, set[str]] = field(default_factory=dict)
    pairs: list[tuple[str, str, str]] = field(default_factory=list)
    leaking: set[int] = field(default_factory=set)
    person: dict[str, int] = field(default_factory=dict)

    def note(self, fault: str, key: str) -> None:
        self.faults.setdefault(fault, set()).add(key)


def plant(out: Path, recipe: Recipe = Recipe(), seed: int = 0) -> Truth:
    """Write the dataset under `out`: shards, dataset.json, manifest.parquet and a split. Returns what was planted."""
    rng = np.random.default_rng(seed)
    body = load_body(None)
    truth = Truth()
    clips = _originals(body, recipe, rng, truth)
    clips += _copies(clips, recipe, rng, truth)
    _split(clips, recipe, rng, truth)
    codes = _unit(rng.normal(size=(recipe.people, FACE_WIDTH)))
    blank: dict[Any, bytes] = {}
    for clip in clips:
        if clip.members is None:
            clip.members = _members(clip, body, codes[clip.person], rng, recipe, blank)
    _share_bytes(clips, truth)
    broken = dict(zip(sorted(truth.faults.get("corrupt", ())), CORRUPTIONS * recipe.corrupt))
    _write(out, clips, recipe, broken, rng)
    return truth


def _originals(body: Body, recipe: Recipe, rng: np.random.Generator, truth: Truth) -> list[Clip]:
    """All clips but the copies, each with at most one fault besides its licence."""
    count = recipe.clips - recipe.exact - recipe.near
    faults = ["cut_inside"] * recipe.cuts + ["frozen"] * recipe.frozen + ["crowd"] * recipe.crowds
    faults += ["corrupt"] * recipe.corrupt + ["left_right_swap"] * recipe.swapped
    faults += [""] * (count - len(faults))
    takes = [random_take(rng, person) for person in range(recipe.people)]
    # What a person did in the own room: a second take of that would be a near-duplicate that nobody planted.
    done: list[set[str]] = [set() for _ in takes]
    order = rng.permutation(count)
    clips = []
    for number in range(count):
        person = number % recipe.people
        fault = faults[order[number]]
        # Every other clip of a person is from the same room, in the same clothes: the hard case for near-duplicates.
        take = takes[person].again(rng, rng.random() < 0.5, done[person])
        clips.append(_filmed(body, take, number, person, fault, recipe, rng, truth))
    for number in rng.permutation(count)[: recipe.unknown].tolist():
        clips[number].licence = "unknown"
        truth.note("unknown_licence", clips[number].key)
    return clips


def _filmed(
    body: Body, take: Take, number: int, person: int, fault: str, recipe: Recipe, rng: np.random.Generator, truth: Truth
) -> Clip:
    if fault == "crowd":
        take = take.with_others([random_take(rng, 1000 + number + k) for k in range(2)])
    frames, sequence = film_take(body, take, recipe.frames, FPS)
    if fault == "cut_inside":
        at = int(recipe.frames * rng.uniform(0.35, 0.65))
        other, _ = film_take(body, random_take(rng, person), recipe.frames - at, FPS)
        frames = np.concatenate([frames[:at], other])
    if fault == "frozen":
        at = int(recipe.frames * rng.uniform(0.2, 0.5))
        frames = np.concatenate([frames[:at], np.repeat(frames[at : at + 1], recipe.frames - at, axis=0)])
    source = hashlib.sha256(f"{rng.integers(1 << 62)}".encode()).hexdigest()
    key = f"{source[:16]}_{0:06d}"
    keypoints = _keypoints(body, take, sequence, rng)
    if fault == "left_right_swap":
        keypoints = swap_sides(keypoints, whole=rng.random() < 0.5)
    if fault:
        truth.note(fault, key)
    truth.person[key] = person
    # What the engine's people filter would have left; crowds and a few others are for the audit to count itself.
    uncounted = fault == "crowd" or number % recipe.counted == recipe.counted - 1
    quality = {} if uncounted else {"people": 1.0, "rival_area": 0.0, "alone": 1.0}
    clip = Clip(key, person, replace(take, sequence=sequence), frames, keypoints, source, f"uploader {person}",
                quality=quality)  # fmt: skip
    return clip


def _copies(clips: list[Clip], recipe: Recipe, rng: np.random.Generator, truth: Truth) -> list[Clip]:
    """Exact and near copies of clips without a fault, from other sources and uploaders."""
    faulty = set().union(*(keys for name, keys in truth.faults.items() if name != "unknown_licence"))
    fine = [clip for clip in clips if clip.key not in faulty]
    chosen = rng.permutation(len(fine))[: recipe.exact + recipe.near].tolist()
    copies = []
    for number, original in enumerate(fine[i] for i in chosen):
        source = hashlib.sha256(f"copy {rng.integers(1 << 62)}".encode()).hexdigest()
        made = replace(original, key=f"{source[:16]}_{0:06d}", source=source, uploader=f"copyist {number}",
                       licence="CC0-1.0")  # fmt: skip
        kind = "exact"
        if number >= recipe.exact:
            kind = list(ALTERATIONS)[number % len(ALTERATIONS)]
            made = ALTERATIONS[kind](made, rng)
        truth.pairs.append((kind, original.key, made.key))
        truth.note("exact_duplicate" if kind == "exact" else "near_duplicate", made.key)
        truth.person[made.key] = original.person
        copies.append(made)
    return copies


def _keypoints(body: Body, take: Take, sequence: Any, rng: np.random.Generator) -> Keypoints:
    from pipelines.audit.people import view_angles
    from pipelines.body.kinematics import WHOLEBODY

    points = sequence.camera.project(body.joints(sequence)[:, WHOLEBODY]).astype(np.float32)
    boxes = np.concatenate([points[:, :17].min(1), points[:, :17].max(1)], 1)
    height = float(np.median(boxes[:, 3] - boxes[:, 1]))
    points += rng.normal(0, 0.004 * height, points.shape).astype(np.float32)
    scores = rng.uniform(0.6, 0.98, points.shape[:2]).astype(np.float32)
    away = np.abs(view_angles(sequence.global_orient)) > 100
    scores[away, 23:91] *= 0.2
    scores[away, 0:3] *= 0.2
    return Keypoints(points, scores, boxes.astype(np.float32), "known")


def _split(clips: list[Clip], recipe: Recipe, rng: np.random.Generator, truth: Truth) -> None:
    """Whole people go to a part; then `leaks` of them get one clip, of a source of its own, in the other part."""
    test = set(rng.permutation(recipe.people)[: recipe.people // 5].tolist())
    copies = {key for _, a, b in truth.pairs for key in (a, b)}
    for clip in clips:
        clip.split = "test" if clip.person in test else "train"
    for person in rng.permutation(recipe.people).tolist():
        movable = [c for c in clips if c.person == person and c.key not in copies
                   and c.key not in truth.faults.get("corrupt", ())]  # fmt: skip
        if len(truth.leaking) < recipe.leaks and len(movable) > 1:
            movable[0].split = "train" if person in test else "test"
            truth.leaking.add(person)


def _members(
    clip: Clip, body: Body, code: NDArray[np.float64], rng: np.random.Generator, recipe: Recipe, blank: dict[Any, bytes]
) -> dict[str, bytes]:
    count = len(clip.frames)
    sequence = clip.take.sequence
    assert sequence is not None
    noise = 0.8 * _unit(rng.normal(size=FACE_WIDTH)) + 0.6 * _unit(rng.normal(size=(count, FACE_WIDTH)))
    face = Face(_unit(code + noise).astype(np.float16), np.ones(count, bool), np.full(count, 0.9, np.float32),
                "known_code", "", True)  # fmt: skip
    size = (clip.frames.shape[2], clip.frames.shape[1])
    return {
        "video.mp4": _mp4(lambda path: encode_clip(path, clip.frames, clip.fps, crf=clip.crf)),
        "pose.npz": encode_keypoints(clip.keypoints),
        "smplx.npz": encode_body(sequence),
        "render.mp4": _maps(body, sequence, size, recipe, blank),
        "face.npz": encode_face(face),
        "json": encode_meta(_meta(clip, size)),
    }


def _maps(body: Body, sequence: Any, size: tuple[int, int], recipe: Recipe, blank: dict[Any, bytes]) -> bytes:
    """The body's maps, or black ones, which no check looks at, where they are not asked for."""
    from pipelines.body.render import render_sequence

    if recipe.maps:
        shaded, labels = zip(*render_sequence(body, sequence, size))
        return _mp4(lambda path: encode_maps(path, shaded, labels, FPS))
    key = (size, len(sequence))
    if key not in blank:
        black = np.zeros((len(sequence), size[1], size[0]), np.uint8)
        blank[key] = _mp4(lambda path: encode_maps(path, np.repeat(black[..., None], 3, -1), black, FPS))
    return blank[key]


def _mp4(write: Callable[[Path], object]) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "clip.mp4")
        return (Path(folder) / "clip.mp4").read_bytes()


def _meta(clip: Clip, size: tuple[int, int]) -> dict[str, Any]:
    said = {"licence": clip.licence, "uploader": clip.uploader, "url": f"https://example.org/{clip.source[:8]}"}
    read_from = {"licence": "sources.csv:2"} if clip.licence != "unknown" else {}
    return {
        "schema": SCHEMA_VERSION, "key": clip.key, "frames": len(clip.frames), "size": list(size),
        "fps": [clip.fps.numerator, clip.fps.denominator], "licence": clip.licence,
        "source": {"sha256": clip.source, "name": f"{clip.source[:8]}.mp4", "start_frame": 0,
                   "end_frame": len(clip.frames), "provenance": {**said, "read_from": read_from, "warnings": []}},
        "quality": clip.quality, "estimators": {}, "notes": [],
    }  # fmt: skip


def _share_bytes(clips: list[Clip], truth: Truth) -> None:
    """Exact copies have the very bytes of the original's video."""
    by_key = {clip.key: clip for clip in clips}
    for kind, original, copy in truth.pairs:
        if kind == "exact":
            ours, theirs = by_key[copy].members, by_key[original].members
            assert ours is not None
            assert theirs is not None
            ours["video.mp4"] = theirs["video.mp4"]


def _write(out: Path, clips: list[Clip], recipe: Recipe, broken: dict[str, str], rng: np.random.Generator) -> None:
    clips = sorted(clips, key=lambda clip: clip.key)
    shards: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for number, start in enumerate(range(0, len(clips), recipe.shard)):
        name = f"vividpose-{number:06d}.tar"
        part = clips[start : start + recipe.shard]
        path = out / "shards" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for clip in part:
                assert clip.members is not None
                members = corrupted(clip.members, broken[clip.key]) if clip.key in broken else clip.members
                for member in (m for m in MEMBERS if m in members):
                    entry = tarfile.TarInfo(f"{clip.key}.{member}")
                    entry.size = len(members[member])
                    tar.addfile(entry, io.BytesIO(members[member]))
        frames = sum(len(clip.frames) for clip in part)
        shards.append({"name": name, "sha256": file_digest(path), "bytes": path.stat().st_size,
                       "samples": len(part), "frames": frames})  # fmt: skip
        rows += [_row(clip, name) for clip in part]
    rows += list(_ended_early(rng, max(4, len(clips) // 10)))
    rows.sort(key=lambda row: row["source_path"])
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(MANIFEST)), out / "manifest.parquet")
    facts = {"schema": SCHEMA_VERSION, "hash": digest([[s["name"], s["sha256"]] for s in shards]),
             **{name: sum(s[name] for s in shards) for name in ("samples", "frames", "bytes")},
             "estimators": {"keypoints": "known"}, "shards": shards}  # fmt: skip
    write_whole(out / "dataset.json", (json.dumps(facts, indent=1) + "\n").encode())
    audit_folder(out).mkdir(parents=True, exist_ok=True)
    parts = pa.table({"key": [c.key for c in clips], "split": [c.split for c in clips]}, schema=PARTS_SCHEMA)
    pq.write_table(parts, audit_folder(out) / PARTS)


def _row(clip: Clip, shard: str) -> dict[str, Any]:
    return {
        "key": clip.key, "state": "kept", "shard": shard, "source_sha256": clip.source,
        "source_path": f"videos/{clip.source[:8]}.mp4", "url": f"https://example.org/{clip.source[:8]}",
        "uploader": clip.uploader, "title": f"person {clip.person}", "licence": clip.licence, "date": "2026-01-01",
        "platform": "planted", "start_frame": 0, "end_frame": len(clip.frames), "frames": len(clip.frames),
        "seconds": float(len(clip.frames) / clip.fps), "fps": float(clip.fps), "width": clip.frames.shape[2],
        "height": clip.frames.shape[1],
    }  # fmt: skip


def _ended_early(rng: np.random.Generator, count: int) -> Iterator[dict[str, Any]]:
    """Rows of clips and sources that never reached a shard."""
    endings = (("dropped", "people", "crowd", 3.0), ("dropped", "ingest", "shot_too_short", 0.4),
               ("quarantined", "ingest", "undecodable", None))  # fmt: skip
    for number in range(count):
        source = hashlib.sha256(f"early {rng.integers(1 << 62)}".encode()).hexdigest()
        state, stage, reason, seconds = endings[number % len(endings)]
        key = f"{source[:16]}_{0:06d}" if stage != "ingest" else None
        yield {"key": key, "state": state, "stage": stage, "reason": reason, "message": "planted", "seconds": seconds,
               "source_sha256": source, "source_path": f"videos/{source[:8]}.mp4", "licence": "CC0-1.0",
               "uploader": "nobody"}  # fmt: skip


def _unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values / np.linalg.norm(values, axis=-1, keepdims=True)
