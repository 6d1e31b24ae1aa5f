"""Generated tables at any scale, to build and measure the page and the queries against. Nothing in them is real.

    python -m pipelines.audit.synthetic OUT --rows 1000000
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.audit.schema import CLIPS_COLUMNS, MANIFEST, audit_folder
from pipelines.engine.atomic import whole_file

LICENCES = ("CC-BY-4.0", "CC0-1.0", "youtube", "all rights reserved", "unknown")
HOSTILE_TITLES = (
    "<script>alert(1)</script>", "=HYPERLINK(\"http://x\",\"y\")", "\"><img src=x onerror=alert(2)>", "a\u202eb",
    "{{7*7}}", "'; drop table clips; --", "x" * 500,
)  # fmt: skip
# What may happen to a row of the manifest: state, stage, reason, share of all rows.
ENDINGS = (
    ("kept", None, None, 0.62),
    ("dropped", "ingest", "shot_too_short", 0.12),
    ("dropped", "ingest", "duplicate", 0.03),
    ("dropped", "people", "crowd", 0.09),
    ("dropped", "people", "cut_inside", 0.04),
    ("dropped", "quality", "few_key_points", 0.05),
    ("dropped", "body", "no_points", 0.01),
    ("quarantined", "ingest", "undecodable", 0.03),
    ("failed", "ingest", None, 0.01),
)
NULL = np.array(None, object)
CLIPS_PER_SOURCE, CLIPS_PER_SHARD, ROWS_AT_ONCE = 4, 128, 200_000


def manifest_columns(start: int, rows: int, rng: np.random.Generator) -> dict[str, Any]:
    """Columns of manifest.parquet for rows `start` to `start + rows`; numpy arrays, None for null."""
    number = np.arange(start, start + rows)
    ending = rng.choice(len(ENDINGS), rows, p=np.array([e[3] for e in ENDINGS]))
    states, stages, reasons = (np.array([e[k] for e in ENDINGS], object)[ending] for k in range(3))
    source = number // CLIPS_PER_SOURCE
    sha = np.array([f"{n * 0x9E3779B97F4A7C15 % 2**64:016x}" for n in source.tolist()], object)
    is_clip = stages != "ingest"
    begin = number % CLIPS_PER_SOURCE * 400
    frames = rng.integers(48, 400, rows)
    fps = rng.choice(np.array([24.0, 25.0, 30.0]), rows)
    licence = np.array(LICENCES, object)[rng.choice(len(LICENCES), rows, p=(0.3, 0.2, 0.3, 0.1, 0.1))]
    uploader = np.array([f"uploader {n}" for n in (source % max(7, (start + rows) // 40)).tolist()], object)
    title = np.array([f"clip of source {n}" for n in source.tolist()], object)
    hostile = number % 97 == 0
    title[hostile] = np.array(HOSTILE_TITLES, object)[number[hostile] % len(HOSTILE_TITLES)]
    portrait = rng.random(rows) < 0.7

    def clips_only(values: Any) -> Any:
        return np.where(is_clip, values, NULL)

    keys = [f"{s}_{b:06d}" for s, b in zip(sha.tolist(), begin.tolist())]
    shards = [f"vividpose-{n // CLIPS_PER_SHARD:06d}.tar" for n in number.tolist()]
    columns: dict[str, Any] = {
        "key": clips_only(np.array(keys, object)),
        "state": states,
        "stage": stages,
        "reason": reasons,
        "message": np.where(states == "kept", NULL, "generated"),
        "shard": np.where(states == "kept", np.array(shards, object), NULL),
        "source_sha256": np.array([s * 4 for s in sha.tolist()], object),
        "source_path": np.array([f"videos/{n:07d}.mp4" for n in source.tolist()], object),
        "url": np.array([f"https://example.org/watch/{n}" for n in source.tolist()], object),
        "uploader": uploader,
        "title": title,
        "licence": licence,
        "date": np.array([f"20{20 + n % 6}-0{1 + n % 9}-1{n % 10}" for n in source.tolist()], object),
        "platform": np.where(source % 3 == 0, "TikTok", "Youtube"),
        "start_frame": clips_only(begin),
        "end_frame": clips_only(begin + frames),
        "frames": clips_only(frames),
        "seconds": np.where(is_clip | (reasons == "shot_too_short"), frames / fps, NULL),
        "fps": clips_only(fps),
        "width": clips_only(np.where(portrait, 720, 1280)),
        "height": clips_only(np.where(portrait, 1280, 720)),
    }
    assert list(columns) == [name for name, _ in MANIFEST]
    return columns


def measured_columns(columns: dict[str, Any], start: int, rng: np.random.Generator) -> dict[str, Any]:
    """Measures, relations and verdicts of the same rows, of plausible distributions; null where nothing was kept."""
    kept = columns["state"] == "kept"
    rows, number = len(kept), np.arange(start, start + len(kept))

    def only(values: Any) -> Any:
        return np.where(kept, values, NULL)

    def beta(a: float, b: float) -> Any:
        return only(rng.beta(a, b, rows))

    def lists(values: Any) -> list[Any]:
        return [row if k else None for row, k in zip(values.tolist(), kept.tolist())]

    angle = rng.normal(0, 50, rows)
    views = np.array(["front", "left", "right", "back"], object)
    sides = [np.abs(angle) < 45, (angle >= 45) & (angle < 135), (angle <= -45) & (angle > -135)]
    turned = np.select(sides, [0, 1, 2], 3)
    cut, frozen = rng.gamma(1.2, 0.4, rows), rng.beta(0.4, 8, rows)
    identity = np.minimum(rng.zipf(1.3, rows), 10**9) % max(5, (start + rows) // 12)
    near, exact = number % 151 < 2, number % 301 < 2
    splits = np.where(identity % 10 == 0, "test", "train").astype(object)
    leaking = only(near & (number % 2 == 0))
    flags = [
        [name for name, fired in row if fired]
        for row in zip(
            zip(["cut_inside"] * rows, (kept & (cut > 2)).tolist()),
            zip(["frozen"] * rows, (kept & (frozen > 0.5)).tolist()),
            zip(["unknown_licence"] * rows, (kept & (columns["licence"] == "unknown")).tolist()),
            zip(["near_duplicate"] * rows, (kept & near & (number % 2 == 1)).tolist()),
        )
    ]
    decided = ["drop" if "cut_inside" in f or "frozen" in f else "review" if f else "keep" for f in flags]
    decision = only(np.array(decided, object))
    outcome = np.where(kept, np.array([{"keep": "kept", "drop": "dropped"}.get(d, d) for d in decided], object),
                       columns["state"])  # fmt: skip
    measured: dict[str, Any] = {
        "corrupt": np.where(kept & (number % 5003 == 0), "video.mp4 cannot be decoded", NULL),
        "licence_from": only("sources.csv:2"), "consent": only("unknown"),
        "person_height": beta(8, 3), "face_size": only(rng.gamma(6, 12, rows)),
        "shot_size": only(np.array(["full", "knees", "hips", "chest", "face"], object)[rng.integers(0, 5, rows)]),
        "face_yaw": only(np.abs(rng.normal(0, 25, rows))), "face_seen": beta(8, 1), "body_seen": beta(12, 1),
        "left_hand_seen": beta(3, 2), "right_hand_seen": beta(3, 2), "feet_seen": beta(1.5, 1),
        "joints_seen": lists(rng.beta(9, 1, (rows, 17)).round(3)), "jitter": only(rng.gamma(2, 0.002, rows)),
        "swapped": beta(0.1, 12), "reprojection": only(rng.gamma(4, 0.004, rows)), "body_valid": beta(50, 1),
        "view_angle": only(angle), "view": only(views[turned]), "turn": only(np.abs(rng.normal(0, 40, rows))),
        "motion": only(rng.gamma(2, 0.2, rows)), "occlusion": beta(1, 12), "stature": only(rng.normal(1.7, 0.1, rows)),
        "betas": lists(rng.normal(0, 1, (rows, 10)).round(3)), "face_model": only("known_code"),
        "identity_spread": beta(2, 8), "people": only(1 + rng.gamma(0.2, 0.5, rows)),
        "rival_area": beta(0.3, 6), "alone": beta(30, 1), "decoded_frames": columns["frames"],
        "cut": only(cut), "cut_frame": only(rng.integers(1, 48, rows)), "frozen": only(frozen),
        "repeated": beta(0.3, 9), "bars": beta(0.2, 9), "overlay": beta(0.2, 9), "blur": only(rng.gamma(3, 1, rows)),
        "brightness": beta(5, 5), "too_dark": beta(0.5, 9), "too_bright": beta(0.5, 9),
        "blockiness": only(1 + rng.gamma(1, 0.1, rows)), "bits_per_pixel": only(rng.gamma(3, 0.03, rows)),
        "video_sha256": only(np.array([f"{n:064x}" for n in np.where(exact, number // 301, number + 10**9).tolist()],
                                      object)),
        "frames_sha256": only(np.array([f"{n:064x}" for n in number.tolist()], object)),
        "minor": np.full(rows, None), "nsfw": np.full(rows, None), "identity": only(identity),
        "exact_group": np.where(kept & exact, number // 301, NULL),
        "exact_rank": only(np.where(exact, number % 301, 0)),
        "near_group": np.where(kept & near, number // 151, NULL), "near_rank": only(np.where(near, number % 151, 0)),
        "benchmark": np.full(rows, None), "split": only(splits), "identity_leak": leaking,
        "source_leak": leaking, "uploader_leak": leaking, "exact_leak": only(False), "near_leak": leaking,
        "flags": [f if k else None for f, k in zip(flags, kept.tolist())],
        "reasons": [
            [{"rule": n, "column": n, "value": "2.31", "threshold": "above 2", "decision": "drop"} for n in f]
            if k else None for f, k in zip(flags, kept.tolist())
        ],
        "decision": decision, "decided_by": only("rules:generated"), "outcome": outcome,
    }  # fmt: skip
    return measured


def write_clips(path: Path, rows: int, seed: int = 0) -> None:
    """clips.parquet with `rows` generated rows."""
    rng = np.random.default_rng(seed)
    schema = pa.schema(CLIPS_COLUMNS)
    with whole_file(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for start in range(0, rows, ROWS_AT_ONCE):
            columns = manifest_columns(start, min(ROWS_AT_ONCE, rows - start), rng)
            columns |= measured_columns(columns, start, rng)
            arrays = [pa.array(columns[name], type=kind, from_pandas=True) for name, kind in CLIPS_COLUMNS]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def write_manifest(path: Path, rows: int, seed: int = 0) -> None:
    """manifest.parquet with `rows` generated rows; `ROWS_AT_ONCE` of them at a time."""
    rng = np.random.default_rng(seed)
    schema = pa.schema(MANIFEST)
    with whole_file(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for start in range(0, rows, ROWS_AT_ONCE):
            columns = manifest_columns(start, min(ROWS_AT_ONCE, rows - start), rng)
            arrays = [pa.array(columns[name], type=kind, from_pandas=True) for name, kind in MANIFEST]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def write_tables(out: Path, rows: int, seed: int = 0) -> None:
    """All tables of an audit of `rows` generated rows, as `vividpose audit` leaves them, but for shards."""
    import duckdb

    from pipelines.audit.conclude import Check, write_conclusions
    from pipelines.audit.schema import CLIPS, IDENTITIES, PAIRS

    folder = audit_folder(out)
    write_clips(folder / CLIPS, rows, seed)
    clips = str(folder / CLIPS)
    connection = duckdb.connect()
    connection.execute(
        f"""copy (
            select a.key as a, b.key as b, 'near' as kind, (0.9 + (hash(a.key) % 100) / 1000)::float as similarity,
                   1.0::float as overlap, hash(b.key) % 2 = 0 as mirrored, 1.0::float as speed,
                   a.source_sha256 = b.source_sha256 as same_source, a.uploader = b.uploader as same_uploader,
                   a.split as split_a, b.split as split_b, a.split <> b.split as leak
            from read_parquet('{_quoted(clips)}') a join read_parquet('{_quoted(clips)}') b
              on a.near_group = b.near_group and a.near_rank < b.near_rank order by 1, 2
        ) to '{_quoted(str(folder / PAIRS))}' (format parquet)"""
    )
    connection.execute(
        f"""copy (
            select identity, count(*) as clips, sum(seconds) as seconds, count(distinct source_sha256) as sources,
                   count(distinct uploader) as uploaders, list(distinct split order by split) as splits,
                   count(distinct split) > 1 as leak, 0.8::float as cohesion, 'known_code' as model, min(key) as example
            from read_parquet('{_quoted(clips)}') where identity is not null group by identity order by identity
        ) to '{_quoted(str(folder / IDENTITIES))}' (format parquet)"""
    )
    checks = [
        Check("people", True, rows // 2, rows // 2),
        Check("minors", False, 0, rows // 2, "no classifier is installed; see docs/audit.md"),
    ]
    write_conclusions(out, connection, checks=checks, generated=True)


def _quoted(text: str) -> str:
    return text.replace("'", "''")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    write_tables(options.out, options.rows, options.seed)
