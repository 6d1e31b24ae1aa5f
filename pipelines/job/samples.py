"""From the records of a clip to its sample in a shard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from pipelines.annotate.body import BODY_FILE
from pipelines.annotate.face import FACE_FILE
from pipelines.annotate.keypoints import KEYPOINTS_FILE, read_keypoints
from pipelines.annotate.render import RENDER_FILE
from pipelines.engine.atomic import file_digest
from pipelines.engine.ledger import Ledger, Record, Unit
from pipelines.engine.storage import Store
from pipelines.job.plan import SourcePlan
from pipelines.job.stages import Clip
from pipelines.shard_format import SCHEMA_VERSION, encode_keypoints, encode_meta, write_tar
from pipelines.shard_index import index_name, index_tar


def sample_inputs(clip: Clip, units: Mapping[str, Unit], source: SourcePlan) -> dict[str, Any]:
    """Everything a sample is made of, as JSON: unit ids, and what is known of the source."""
    return {
        "clip": clip.index,
        "units": {"ingest": clip.ingest_unit, **{name: unit.id for name, unit in units.items()}},
        "source": {"sha256": clip.source, "name": source.name, "provenance": source.provenance},
    }


def sample_bytes(clip: Clip, records: Mapping[str, Record]) -> int:
    """What the sample will take in a shard, near enough to plan with, and the same on every machine."""
    files = (records["render"].files, records["body"].files, records["keypoints"].files, records["face"].files)
    return int(clip.facts["bytes"]) + sum(entry["bytes"] for each in files for entry in each.values()) + 8192


def write_shard(
    ledger: Ledger, store: Store, name: str, samples: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Write the shard whole, and its index beside it. Returns its facts: sha256, bytes, samples, frames, index."""
    frames = 0

    def members() -> Iterator[tuple[str, dict[str, bytes | Path]]]:
        nonlocal frames
        for key in sorted(samples):
            records = _records(ledger, samples[key]["units"])
            meta = sample_meta(key, samples[key], records)
            frames += meta["frames"]
            clip = records["ingest"].outcome.info["clips"][samples[key]["clip"]]
            wanted = {"ingest": clip["file"]}
            folders = {name: ledger.folder_of(record, wanted.get(name)) for name, record in records.items()}
            yield (
                key,
                {
                    "video.mp4": folders["ingest"] / clip["file"],
                    "pose.npz": encode_keypoints(read_keypoints(folders["keypoints"] / KEYPOINTS_FILE)),
                    "smplx.npz": folders["body"] / BODY_FILE,
                    "render.mp4": folders["render"] / RENDER_FILE,
                    "face.npz": folders["face"] / FACE_FILE,
                    "json": encode_meta(meta),
                },
            )
            ledger.tidy()

    with store.writing(name) as temporary:
        keys = write_tar(temporary, members())
        sha256, size = file_digest(temporary), temporary.stat().st_size
        index = index_tar(temporary, Path(name).name, sha256, size)
    store.put(index_name(name), index.to_json())
    return {
        "sha256": sha256,
        "bytes": size,
        "samples": len(keys),
        "frames": frames,
        "index": index_name(Path(name).name),
        "keys": keys,
    }


def _records(ledger: Ledger, units: Mapping[str, str]) -> dict[str, Record]:
    records = {}
    for stage, unit in units.items():
        record = ledger.record(stage, unit)
        if record is None or record.status != "done":
            work = ledger.store.url
            raise RuntimeError(
                f"unit {unit} of {stage} is part of a shard, but its record is gone from {work}: "
                f"delete {work}/lots and run again, and what is missing is done anew"
            )
        records[stage] = record
    return records


def sample_meta(key: str, inputs: Mapping[str, Any], records: Mapping[str, Record]) -> dict[str, Any]:
    """The sample's json: where it comes from, what may be done with it, what made it, how good it is."""
    ingest = records["ingest"]
    clip = ingest.outcome.info["clips"][inputs["clip"]]
    fps = Fraction(*clip["fps"])
    source = inputs["source"]
    return {
        "schema": SCHEMA_VERSION,
        "key": key,
        "frames": clip["frames"],
        "fps": [fps.numerator, fps.denominator],
        "size": clip["size"],
        "licence": source["provenance"].get("licence", "unknown"),
        "source": {
            "sha256": source["sha256"],
            "name": source["name"],
            "video": ingest.outcome.info["video"],
            "start_frame": clip["start_frame"],
            "end_frame": clip["end_frame"],
            "start_seconds": clip["start_seconds"],
            "end_seconds": round(clip["start_seconds"] + float(clip["frames"] / fps), 6),
            "provenance": source["provenance"],
        },
        "estimators": {
            name: {"version": record.version, **record.outcome.info, **record.identity}
            for name, record in records.items()
            if name not in ("ingest", "quality")
        },
        "units": inputs["units"],
        "quality": {name: round(value, 6) for name, value in records["quality"].outcome.scores.items()},
        "notes": list(ingest.outcome.notes),
    }
