"""What lies beside the shards: `dataset.json` for programs that read them, `manifest.parquet` for people who ask."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pyarrow as pa

from pipelines.annotate.choice import Choice
from pipelines.engine.atomic import digest
from pipelines.engine.ledger import Record
from pipelines.engine.storage import Store
from pipelines.job.plan import Census
from pipelines.job.samples import sample_bytes
from pipelines.job.stages import Clip
from pipelines.shard_format import SCHEMA_VERSION

# "index" came later: shards of older outputs have none, and are indexed by whoever reads them.
SHARD_FACTS = ("sha256", "bytes", "samples", "frames", "index")
PROVENANCE = ("url", "uploader", "title", "licence", "date", "platform", "consent")


@dataclass(frozen=True)
class Entry:
    """A clip and everything the ledger says of it. `last` is the record that ended it, None where work is left."""

    clip: Clip
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


def write_dataset(
    out: Store, shards: Mapping[str, Mapping[str, Any]], choices: Sequence[Choice]
) -> dict[str, Any]:
    """Write dataset.json: shards in order with sha256, bytes, counts and index, and one hash over all of them.

    shards: the facts of each shard, as `write_shard` returned them, by file name.
    """
    rows = [
        {"name": name, **{fact: facts[fact] for fact in SHARD_FACTS if fact in facts}}
        for name, facts in sorted(shards.items())
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


def lot_rows(sources: Iterable[str], ingested: Mapping[str, Record], entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """What became of some sources, in the columns of `lots.ROWS`.

    A row per clip, per span that made no clip, per source that gave neither, and per note on a source. Every source is
    in some row. What is known of a source beside its content is not in here, since it may change.
    """
    rows = [_clip_row(entry) for entry in entries]
    for sha256 in sources:
        base = {"kind": "source", "source_sha256": sha256, "stage": "ingest"}
        record = ingested.get(sha256)
        if record is None:
            rows.append({**base, "state": "failed"})
            continue
        if record.status != "done":
            ended = {"reason": record.outcome.reason or "", "message": record.outcome.message or ""}
            rows.append({**base, "state": record.status, **ended})
        for span in record.outcome.info.get("dropped", []):
            rows.append({**base, "kind": "span", "state": "dropped", **span})
        for number, note in enumerate(record.outcome.notes):
            rows.append({**base, "kind": "note", "message": note, "clip_index": number})
    return rows


def rows_without_lot(census: Census) -> list[dict[str, Any]]:
    """The manifest's rows of sources that cannot be read and of further copies of a content."""
    rows = []
    for source in census.problems:
        provenance = {name: source.provenance.get(name, "unknown") for name in PROVENANCE}
        ended = {"state": "quarantined", "stage": "ingest", **(source.problem or {})}
        rows.append({"source_path": source.path, **provenance, **ended})
    for path, first in census.copies.items():
        ended = {"reason": "duplicate", "message": f"same content as {first}"}
        rows.append({"source_path": path, "state": "dropped", "stage": "ingest", **ended})
    return rows


def _clip_row(entry: Entry) -> dict[str, Any]:
    clip, facts, last = entry.clip, entry.clip.facts, entry.last
    return {
        "kind": "clip",
        "source_sha256": clip.source,
        "key": clip.key,
        "state": entry.state,
        "stage": last.stage if last is not None and not entry.kept else None,
        "reason": last.outcome.reason if last is not None else None,
        "message": last.outcome.message if last is not None else None,
        "start_frame": facts["start_frame"],
        "end_frame": facts["end_frame"],
        "frames": facts["frames"],
        "seconds": float(facts["frames"] / Fraction(*facts["fps"])),
        "fps": float(Fraction(*facts["fps"])),
        "width": facts["size"][0],
        "height": facts["size"][1],
        "scores": entry.scores,
        "bytes": sample_bytes(clip, entry.records) if entry.kept else None,
        "clip_index": clip.index,
        "ingest_unit": clip.ingest_unit,
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
