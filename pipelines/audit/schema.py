"""The tables of the audit: names, columns, types. What writes them and what shows them meet here.

    OUT/audit/clips.parquet        a row per row of manifest.parquet, with every measure, flag and decision
    OUT/audit/pairs.parquet        pairs of clips with the same content
    OUT/audit/identities.parquet   a row per person found by face embeddings
    OUT/audit/flow.parquet         the ledger as links of a Sankey diagram
    OUT/audit/fingerprints.parquet what finds duplicates; also the file that `--benchmark-hashes` takes
    OUT/audit/summary.json         counts, hours, invariants, which checks ran
    OUT/audit/manual.jsonl         what people decided on the page; appended to, never rewritten
    OUT/decisions.parquet          the result that the trainer's stream obeys
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pyarrow as pa

VERSION = "1"
"""Changes when the tables change so that the page or another reader must change with them."""

FOLDER = "audit"
CLIPS, PAIRS, IDENTITIES = "clips.parquet", "pairs.parquet", "identities.parquet"
FLOW, FINGERPRINTS, SUMMARY, MANUAL = "flow.parquet", "fingerprints.parquet", "summary.json", "manual.jsonl"
DECISIONS = "decisions.parquet"

Decision = Literal["keep", "review", "drop"]
SEVERITY: dict[str, int] = {"keep": 0, "review": 1, "drop": 2}
UNKNOWN = "unknown"
DUPLICATE_KINDS = ("same_file", "same_frames", "near", "benchmark")

_Columns = tuple[tuple[str, pa.DataType], ...]
_REAL = pa.float32()

MANIFEST: _Columns = (
    *((name, pa.string()) for name in ("key", "state", "stage", "reason", "message", "shard", "source_sha256")),
    *((name, pa.string()) for name in ("source_path", "url", "uploader", "title", "licence", "date", "platform")),
    *((name, pa.int64()) for name in ("start_frame", "end_frame", "frames")),
    ("seconds", pa.float64()),
    ("fps", pa.float64()),
    ("width", pa.int64()),
    ("height", pa.int64()),
)

# What is read of a sample without looking at its pictures.
PEOPLE: _Columns = (
    ("corrupt", pa.string()),
    ("licence_from", pa.string()),
    ("consent", pa.string()),
    ("person_height", _REAL),
    ("shot_size", pa.string()),
    ("face_size", _REAL),
    ("face_yaw", _REAL),
    ("face_seen", _REAL),
    ("body_seen", _REAL),
    ("left_hand_seen", _REAL),
    ("right_hand_seen", _REAL),
    ("feet_seen", _REAL),
    ("joints_seen", pa.list_(_REAL)),
    ("jitter", _REAL),
    ("swapped", _REAL),
    ("reprojection", _REAL),
    ("body_valid", _REAL),
    ("view_angle", _REAL),
    ("view", pa.string()),
    ("turn", _REAL),
    ("motion", _REAL),
    ("occlusion", _REAL),
    ("stature", _REAL),
    ("betas", pa.list_(_REAL)),
    ("face_model", pa.string()),
    ("identity_spread", _REAL),
)

# What is read of the frames.
PICTURE: _Columns = (
    ("people", _REAL),
    ("rival_area", _REAL),
    ("alone", _REAL),
    ("decoded_frames", pa.int64()),
    ("cut", _REAL),
    ("cut_frame", pa.int64()),
    ("frozen", _REAL),
    ("repeated", _REAL),
    ("bars", _REAL),
    ("overlay", _REAL),
    ("blur", _REAL),
    ("brightness", _REAL),
    ("too_dark", _REAL),
    ("too_bright", _REAL),
    ("blockiness", _REAL),
    ("bits_per_pixel", _REAL),
    ("video_sha256", pa.string()),
    ("frames_sha256", pa.string()),
)

# What classifiers say that a person may plug in. Null: did not run.
SENSITIVE: _Columns = (("minor", _REAL), ("nsfw", _REAL))

# What only shows when clips are compared.
RELATIONS: _Columns = (
    ("identity", pa.int64()),
    ("exact_group", pa.int64()),
    ("exact_rank", pa.int64()),
    ("near_group", pa.int64()),
    ("near_rank", pa.int64()),
    ("benchmark", pa.string()),
    ("split", pa.string()),
    ("identity_leak", pa.bool_()),
    ("source_leak", pa.bool_()),
    ("uploader_leak", pa.bool_()),
    ("exact_leak", pa.bool_()),
    ("near_leak", pa.bool_()),
)

REASON = pa.struct(
    [
        ("rule", pa.string()),
        ("column", pa.string()),
        ("value", pa.string()),
        ("threshold", pa.string()),
        ("decision", pa.string()),
    ]
)
VERDICT: _Columns = (
    ("flags", pa.list_(pa.string())),
    ("reasons", pa.list_(REASON)),
    ("decision", pa.string()),
    ("decided_by", pa.string()),
    ("outcome", pa.string()),
)

CLIPS_COLUMNS: _Columns = (*MANIFEST, *PEOPLE, *PICTURE, *SENSITIVE, *RELATIONS, *VERDICT)

PAIRS_SCHEMA = pa.schema(
    [
        ("a", pa.string()),
        ("b", pa.string()),
        ("kind", pa.string()),
        ("similarity", _REAL),
        ("overlap", _REAL),
        ("mirrored", pa.bool_()),
        ("speed", _REAL),
        ("same_source", pa.bool_()),
        ("same_uploader", pa.bool_()),
        ("split_a", pa.string()),
        ("split_b", pa.string()),
        ("leak", pa.bool_()),
    ]
)
IDENTITIES_SCHEMA = pa.schema(
    [
        ("identity", pa.int64()),
        ("clips", pa.int64()),
        ("seconds", pa.float64()),
        ("sources", pa.int64()),
        ("uploaders", pa.int64()),
        ("splits", pa.list_(pa.string())),
        ("leak", pa.bool_()),
        ("cohesion", _REAL),
        ("model", pa.string()),
        ("example", pa.string()),
    ]
)
FLOW_SCHEMA = pa.schema(
    [
        ("step", pa.int64()),
        ("from", pa.string()),
        ("to", pa.string()),
        ("reason", pa.string()),
        ("rows", pa.int64()),
        ("seconds", pa.float64()),
        ("untimed", pa.int64()),
    ]
)
# frame, person: int8 (16, 255); face: float16 (512,), the biometric column; see `fingerprint`.
FINGERPRINTS_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("seconds", pa.float64()),
        ("frame", pa.binary()),
        ("person", pa.binary()),
        ("face", pa.binary()),
        ("face_model", pa.string()),
        ("video_sha256", pa.string()),
        ("frames_sha256", pa.string()),
    ]
)
DECISIONS_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("decision", pa.string()),
        ("split", pa.string()),
        ("reasons", pa.list_(pa.string())),
        ("by", pa.string()),
        ("at", pa.string()),
    ]
)


def audit_folder(out: Path) -> Path:
    return Path(out) / FOLDER


def clips_schema(scores: tuple[str, ...] = ()) -> pa.Schema:
    """The schema of clips.parquet; `scores` are the `score_<name>` columns of the manifest, which stand at its end."""
    return pa.schema([*CLIPS_COLUMNS, *((name, pa.float64()) for name in scores)])
