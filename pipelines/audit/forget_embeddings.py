"""Face embeddings are biometric data: where they lie, and how to take them all out.

In the shards they are the member `face.npz`; the work folder has them as results of the stage `face`; the audit has one
per clip, the mean, in the column `face` of its fingerprints.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.annotate.face import FACE_FILE
from pipelines.audit.forget import update_dataset
from pipelines.audit.forget_search import files_under
from pipelines.audit.forget_shards import facts_of, rewrite, without_vectors, write_index
from pipelines.audit.forget_work import commit_shard, records
from pipelines.audit.schema import audit_folder
from pipelines.engine.atomic import file_digest, whole_file, write_whole
from pipelines.engine.run_lock import only_run
from pipelines.engine.storage import open_store
from pipelines.shard_format import BadSample, decode_face

FACE_COLUMN = "face"


@dataclass(frozen=True)
class Place:
    """A file with face embeddings: of how many clips, and how many vectors."""

    path: Path
    clips: int
    vectors: int


def find_embeddings(out: Path) -> Iterator[Place]:
    """Every file under `out` that holds face embeddings in a form that this software writes."""
    for path in files_under(out):
        if path.suffix == ".tar":
            counts = [count for count in _vectors_in_tar(path) if count]
            if counts:
                yield Place(path, len(counts), sum(counts))
        elif path.name.endswith(FACE_FILE):
            count = _vectors(path.read_bytes())
            if count:
                yield Place(path, 1, count)
        elif path.suffix == ".parquet" and FACE_COLUMN in pq.read_schema(path).names:
            faces = pq.read_table(path, columns=[FACE_COLUMN])[FACE_COLUMN]
            if len(faces) > faces.null_count:
                yield Place(path, len(faces) - faces.null_count, len(faces) - faces.null_count)


def _vectors_in_tar(path: Path) -> Iterator[int]:
    with tarfile.open(path, "r:") as tar:
        for entry in tar:
            stream = tar.extractfile(entry) if entry.name.endswith(f".{FACE_FILE}") else None
            if stream is not None:
                yield _vectors(stream.read())


def _vectors(data: bytes) -> int:
    try:
        face = decode_face(data)
    except BadSample:
        return 0
    return int(face.embeddings.any(axis=1).sum())


def drop_embeddings(out: Path) -> list[Path]:
    """Take the embeddings out of every shard and every result of the stage `face`; returns the files changed.

    The samples stay, and say as those of the `lite` profile that there is no identity vector. Records are brought up to
    date, so that `vividpose shards` finds its work done. Killed in the middle, it is completed by running it again.
    """
    out = out.absolute()
    changed: list[Path] = []
    with only_run(open_store(out / "work")):
        for path in files_under(out / "work" / "units" / "face"):
            bare = without_vectors(path.name, path.read_bytes())
            if bare is not None:
                write_whole(path, bare)
                changed.append(path)
        for path in [path for path in files_under(audit_folder(out)) if path.suffix == ".parquet"]:
            if _without_faces(path):
                changed.append(path)
        _update_face_records(out / "work")
        packs = [record for _, record in records(out / "work", "pack")]
        listed = _listed(out)
        facts = {}
        for path in sorted((out / "shards").glob("*.tar")):
            if any(_vectors_in_tar(path)):
                rewrite(path, replace=without_vectors)
                changed.append(path)
            before = listed.get(path.name)
            if before is None or file_digest(path) == before:
                continue
            facts[path.name] = facts_of(path)
            write_index(path, facts[path.name])
            for record in packs:
                if record.label == path.name and record.outcome.info.get("sha256") == before:
                    commit_shard(out / "work", record, record.inputs, facts[path.name])
        update_dataset(out, facts)
    return changed


def _without_faces(path: Path) -> bool:
    """Empty the column of face vectors of a table. Returns whether there was anything in it."""
    if FACE_COLUMN not in pq.read_schema(path).names:
        return False
    table = pq.read_table(path)
    place = table.schema.get_field_index(FACE_COLUMN)
    if table.column(place).null_count == len(table):
        return False
    field = table.schema.field(place)
    with whole_file(path) as temporary:
        pq.write_table(table.set_column(place, field, pa.nulls(len(table), field.type)), temporary)
    return True


def _listed(out: Path) -> dict[str, str]:
    path = out / "dataset.json"
    return {row["name"]: row["sha256"] for row in json.loads(path.read_bytes())["shards"]} if path.is_file() else {}


def _update_face_records(work: Path) -> None:
    for path, record in list(records(work, "face")):
        if record.folder is None:
            continue
        folder = work / record.folder
        files = {
            name: {"sha256": file_digest(folder / name), "bytes": (folder / name).stat().st_size}
            for name in record.files
        }
        if files != record.files:
            write_whole(path, replace(record, files=files).to_json())
