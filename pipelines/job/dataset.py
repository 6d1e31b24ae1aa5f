"""What lies beside the shards: `dataset.json` for programs that read them, `manifest.parquet` for people who ask."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.annotate.choice import Choice
from pipelines.engine.atomic import digest
from pipelines.engine.ledger import Record, Unit
from pipelines.engine.storage import Store
from pipelines.job.plan import Census, SourcePlan
from pipelines.job.stages import Clip
from pipelines.shard_format import SCHEMA_VERSION

# "index" came later: shards of older outputs have none, and are indexed by whoever reads them.
SHARD_FACTS = ("sha256", "bytes", "samples", "frames", "index")
PROVENANCE = ("url", "uploader", "title", "licence", "date", "platform")


@dataclass(frozen=True)
class Entry:
    """A clip and everything the ledger says of it. `last` is the record that ended it, None where work is left."""

    clip: Clip
    source: SourcePlan
    units: dict[str, Unit]
    records: dict[str, Record]
    last: Record | None

    @property
    def kept(self) -> bool:
        return self.last is not None and self.last.status == "done"

    @property
    def state(self) -> str:
        """kept, dropped, quarantined, or failed (an unexpected error; the next run tries again)."""
        if self.last is None:
            return "failed"
        return "kept" if self.kept else self.last.status

    @property
    def scores(self) -> dict[str, float]:
        return {name: value for record in self.records.values() for name, value in record.outcome.scores.items()}


def write_dataset(out: Store, shards: Mapping[str, Record], choices: Sequence[Choice]) -> dict[str, Any]:
    """Write dataset.json: shards in order with sha256, bytes, counts and index, and one hash over all of them."""
    rows = [
        {"name": name, **{fact: record.outcome.info[fact] for fact in SHARD_FACTS if fact in record.outcome.info}}
        for name, record in sorted(shards.items())
    ]
    dataset = {
        "schema": SCHEMA_VERSION,
        "hash": digest([[row["name"], row["sha256"]] for row in rows]),
        "samples": sum(row["samples"] for row in rows),
        "frames": sum(row["frames"] for row in rows),
        "bytes": sum(row["bytes"] for row in rows),
        "estimators": {choice.role: choice.estimator for choice in choices},
        "shards": rows,
    }
    out.put("dataset.json", (json.dumps(dataset, indent=1) + "\n").encode())
    return dataset


def manifest_rows(
    entries: Mapping[str, Entry], census: Census, ingested: Mapping[str, Record], shards: Mapping[str, Record]
) -> list[dict[str, Any]]:
    """A row per clip, per span that made no clip, and per source that gave neither. Every source is in some row."""
    shard_of = {key: name for name, record in shards.items() for key in record.outcome.info["keys"]}
    rows = [_clip_row(entry, shard_of.get(key)) for key, entry in entries.items()]
    for source in census.problems:
        rows.append({**_source_columns(source), "state": "quarantined", "stage": "ingest", **(source.problem or {})})
    for path, first in census.copies.items():
        ended = {"reason": "duplicate", "message": f"same content as {first}"}
        rows.append({"source_path": path, "state": "dropped", "stage": "ingest", **ended})
    for sha256, source in census.unique.items():
        base = {**_source_columns(source), "stage": "ingest"}
        record = ingested.get(sha256)
        if record is None:
            rows.append({**base, "state": "failed"})
        elif record.status != "done":
            ended = {"reason": record.outcome.reason or "", "message": record.outcome.message or ""}
            rows.append({**base, "state": record.status, **ended})
        else:
            rows += [{**base, "state": "dropped", **span} for span in record.outcome.info["dropped"]]
    return sorted(rows, key=lambda row: (row["source_path"], row.get("start_frame") or 0, row.get("key") or ""))


def _source_columns(source: SourcePlan) -> dict[str, Any]:
    return {
        "source_sha256": source.sha256,
        "source_path": source.path,
        **{name: source.provenance.get(name, "unknown") for name in PROVENANCE},
    }


def _clip_row(entry: Entry, shard: str | None) -> dict[str, Any]:
    facts = entry.clip.facts
    last = entry.last
    return {
        **_source_columns(entry.source),
        "key": entry.clip.key,
        "state": entry.state,
        "stage": last.stage if last is not None and not entry.kept else None,
        "reason": last.outcome.reason if last is not None else None,
        "message": last.outcome.message if last is not None else None,
        "shard": shard,
        "start_frame": facts["start_frame"],
        "end_frame": facts["end_frame"],
        "frames": facts["frames"],
        "seconds": float(facts["frames"] / Fraction(*facts["fps"])),
        "fps": float(Fraction(*facts["fps"])),
        "width": facts["size"][0],
        "height": facts["size"][1],
        **{f"score_{name}": value for name, value in sorted(entry.scores.items())},
    }


COLUMNS = (
    ("key", pa.string()),
    ("state", pa.string()),
    ("stage", pa.string()),
    ("reason", pa.string()),
    ("message", pa.string()),
    ("shard", pa.string()),
    ("source_sha256", pa.string()),
    ("source_path", pa.string()),
    *((name, pa.string()) for name in PROVENANCE),
    ("start_frame", pa.int64()),
    ("end_frame", pa.int64()),
    ("frames", pa.int64()),
    ("seconds", pa.float64()),
    ("fps", pa.float64()),
    ("width", pa.int64()),
    ("height", pa.int64()),
)


def write_manifest(out: Store, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write manifest.parquet. Score columns are named `score_<name>`; a score that was not measured is null."""
    scores = sorted({name for row in rows for name in row if name.startswith("score_")})
    schema = pa.schema([*COLUMNS, *((name, pa.float64()) for name in scores)])
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    with out.writing("manifest.parquet") as temporary:
        pq.write_table(table, temporary)
