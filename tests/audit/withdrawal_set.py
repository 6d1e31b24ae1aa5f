"""A small dataset as `vividpose shards` leaves it, with face vectors and made-up videos, without running any net."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.annotate.body import BODY_FILE
from pipelines.annotate.face import FACE_FILE
from pipelines.annotate.keypoints import KEYPOINTS_FILE
from pipelines.annotate.render import RENDER_FILE
from pipelines.clip import BodySequence, Camera
from pipelines.engine.ledger import Ledger, Outcome, Record, Unit
from pipelines.engine.stage import run_unit, unit_of
from pipelines.engine.storage import open_store
from pipelines.ingest.content_hash import HashCache
from pipelines.job.dataset import Entry, lot_rows, write_dataset
from pipelines.job.lots import LotTables, cut_lots
from pipelines.job.plan import Plan, SourcePlan, take_census
from pipelines.job.samples import sample_inputs, write_shard
from pipelines.job.stages import Clip, PackStage, clips_of
from pipelines.job.tables import Tables
from pipelines.latents_format import LatentsWriter, latents_name
from pipelines.shard_format import Face, encode_body, encode_face, pack_arrays, read_tar, write_tar

FRAMES = 3
# name, uploader, number of clips. The URLs of the first and the last begin alike.
SOURCES = (("anna.mp4", "Studio One", 2), ("ben.mp4", "Studio One", 1), ("cleo.mp4", "dana", 1), ("anna2.mp4", "x", 1))
SHARDS = (("anna", "cleo"), ("anna", "ben"), ("anna2",))


class MadeStage:
    """A stage of the engine that exists only here."""

    version = "1"

    def __init__(self, name: str) -> None:
        self.name = name

    def identity(self) -> dict[str, Any]:
        return {"estimator": "made"}


def make_dataset(folder: Path) -> Path:
    """Write videos to `folder`/videos and a dataset to `folder`/out; returns the latter."""
    videos, out = folder / "videos", folder / "out"
    videos.mkdir(parents=True)
    rng = np.random.default_rng(5)
    ledger, plan = Ledger(out / "work"), Plan(out / "work")
    planned = []
    with HashCache(out / "work" / "hashes.jsonl") as hashes:
        for number, (name, uploader, _) in enumerate(SOURCES):
            (videos / name).write_bytes(rng.bytes(5000))
            provenance = {"url": f"https://example.org/watch/{10**number if number else 1}", "uploader": uploader,
                          "title": f"{name} dances", "licence": "CC0-1.0"}  # fmt: skip
            path = str(videos / name)
            planned.append(SourcePlan(path, name, hashes(path), 5000, provenance))
    plan.add_sources(planned)
    made: dict[str, Made] = {}
    ingested = {}
    for source, (_, _, clips) in zip(planned, SOURCES):
        record = _ingest(ledger, source, clips, rng)
        ingested[source.sha256] = record
        for clip in clips_of(record, source.sha256):
            made[clip.key] = _annotate(ledger, clip, source, rng)
    stems = {key: Path(each.source.name).stem for key, each in made.items()}
    rest = sorted(made)
    shards = {}
    for names in SHARDS:
        keys = [next(key for key in rest if stems[key] == stem) for stem in names]
        rest = [key for key in rest if key not in keys]
        plan.add_shards(dict.fromkeys(keys, 1), 10)
        shards[plan.shards()[-1].name] = keys
    records = {name: _pack(ledger, out, name, [made[key] for key in keys]) for name, keys in shards.items()}
    write_dataset(open_store(out), {name: record.outcome.info for name, record in records.items()}, [])
    [lot] = cut_lots([source.sha256 for source in planned])
    kept = LotTables(open_store(out / "work"), "made", folder)
    kept.write(lot, lot_rows(lot.sources, ingested, [each.entry for each in made.values()]), seal=True)
    tables = Tables(folder, [kept.path(lot)])
    tables.add_census(take_census(planned, planned))
    tables.add_planned(plan.shards())
    tables.add_packed(records)
    tables.write_manifest(out / "manifest.parquet", [])
    tables.close()
    return out


@dataclass(frozen=True)
class Made:
    """A clip of the dataset with its units and the source it is of."""

    entry: Entry
    source: SourcePlan
    units: dict[str, Unit]


def _ingest(ledger: Ledger, source: SourcePlan, clips: int, rng: np.random.Generator) -> Record:
    def work(folder: Path) -> Outcome:
        facts = []
        for number in range(clips):
            (folder / f"{number:03d}.mp4").write_bytes(rng.bytes(9000))
            facts.append({"file": f"{number:03d}.mp4", "start_frame": 100 * number, "end_frame": 100 * number + FRAMES,
                          "start_seconds": 4.0 * number, "frames": FRAMES, "fps": [25, 1], "size": [64, 96],
                          "bytes": 9000})  # fmt: skip
        return Outcome(info={"clips": facts, "dropped": [], "frames": FRAMES, "video": {}}, frames=FRAMES)

    unit = unit_of(MadeStage("ingest"), source.name, {"source": source.sha256})
    return run_unit(ledger, unit, "run", work)


def _annotate(ledger: Ledger, clip: Clip, source: SourcePlan, rng: np.random.Generator) -> Made:
    units: dict[str, Unit] = {}
    records = {}
    for name, files in _files(rng).items():
        units[name] = unit_of(MadeStage(name), clip.key, {"clip": [clip.ingest_unit, clip.index]})

        def work(folder: Path, files: Mapping[str, bytes] = files) -> Outcome:
            for file, data in files.items():
                (folder / file).write_bytes(data)
            return Outcome(scores={"visible": 0.9}, frames=FRAMES)

        records[name] = run_unit(ledger, units[name], "run", work)
    return Made(Entry(clip, records, records["quality"]), source, units)


def _files(rng: np.random.Generator) -> dict[str, dict[str, bytes]]:
    vectors = rng.normal(size=(FRAMES, 512)).astype(np.float16)
    points = {
        "points": rng.uniform(0, 64, (FRAMES, 133, 2)).astype(np.float32),
        "scores": np.ones((FRAMES, 133), np.float32),
        "boxes": np.tile(np.float32([5, 5, 60, 90]), (FRAMES, 1)),
        "estimator": "made",
    }
    shapes = {"expression": (10,), "global_orient": (3,), "body_pose": (21, 3), "left_hand_pose": (15, 3),
              "right_hand_pose": (15, 3), "jaw_pose": (3,), "transl": (3,)}  # fmt: skip
    body = BodySequence(
        betas=rng.normal(size=10).astype(np.float32),
        **{name: np.zeros((FRAMES, *shape), np.float32) for name, shape in shapes.items()},
        camera=Camera(100.0, (32.0, 48.0), (64, 96)),
        flat_hand_mean=True,
        body_hash="0" * 64,
        valid=np.ones(FRAMES, bool),
    )
    face = Face(vectors, np.ones(FRAMES, bool), np.ones(FRAMES, np.float32), "made", "0" * 64, False)
    return {
        "people": {},
        "keypoints": {KEYPOINTS_FILE: pack_arrays(points)},
        "face": {FACE_FILE: encode_face(face)},
        "body": {BODY_FILE: encode_body(body)},
        "render": {RENDER_FILE: rng.bytes(3000)},
        "quality": {},
    }


def _pack(ledger: Ledger, out: Path, name: str, made: list[Made]) -> Record:
    samples = {each.entry.clip.key: sample_inputs(each.entry.clip, each.units, each.source) for each in made}

    def work(folder: Path) -> Outcome:
        info = write_shard(ledger, open_store(out), f"shards/{name}", samples)
        return Outcome(info=info, frames=info["frames"])

    return run_unit(ledger, PackStage().unit(name, samples), "run", work)


def contents(out: Path) -> dict[str, str]:
    """sha256 of every file, by its place; the lock, which names a process, left out."""
    files = {path.relative_to(out).as_posix(): path for path in sorted(out.rglob("*")) if path.is_file()}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items() if name != "work/lock"}


def source(out: Path, name: str) -> str:
    return next(row.sha256 or "" for row in Plan(out / "work").all_sources() if row.name == name)


def add_audit(out: Path) -> None:
    """What an audit, previews, and caches of latents leave that speaks of clips."""
    keys = [row[0] for row in duckdb.execute(
        "select key from read_parquet(?) order by source_path, key", [str(out / "manifest.parquet")]).fetchall()]
    audit = out / "audit"
    (audit / "previews").mkdir(parents=True)
    hashes = {(row.sha256 or "")[:16]: row.sha256 for row in Plan(out / "work").all_sources()}
    shas = [hashes[key[:16]] for key in keys]
    people = [0, 0, 0, 1, 2]  # anna2 and both clips of anna show one person
    table = pa.table({"key": keys, "source_sha256": shas, "identity": people, "seconds": [0.12] * 5})
    pq.write_table(table, audit / "clips.parquet")
    pq.write_table(pa.table({"a": keys[:-1], "b": keys[1:]}), audit / "pairs.parquet")
    faces = [np.full(512, n, np.float16).tobytes() for n in range(5)]
    pq.write_table(pa.table({"key": keys, "face": faces}), audit / "fingerprints.parquet")
    (audit / "manual.jsonl").write_text("".join(json.dumps({"key": key, "decision": "keep"}) + "\n" for key in keys))
    (audit / "index.html").write_text(" ".join(keys))
    for key in keys:
        (audit / "previews" / f"{key}.webp").write_bytes(b"picture")
    (out / "latents" / "k").mkdir(parents=True)
    for shard in sorted((out / "shards").glob("*.tar")):
        shapes = {f"{key}.moments": (2, 3) for key, _ in read_tar(shard)}
        with LatentsWriter(out / "latents" / "k" / latents_name(shard.name), shapes, {}) as latents:
            for shape in shapes.values():
                latents.write(np.zeros(shape, np.float16))
    (out / "cache").mkdir()
    member = dict.fromkeys(("face.npz", "json", "pose.npz", "render.mp4", "smplx.npz", "video.mp4"), b"x")
    write_tar(out / "cache" / "copy.tar", [(key, member) for key in keys])
