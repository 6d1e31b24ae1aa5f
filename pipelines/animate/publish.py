"""From the ledger to the output folder: files with a job's name, each whole or absent."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.animate.planned import PlannedJob
from pipelines.animate.sampling import FRAMES_FOLDER
from pipelines.animate.workers import PUBLISHED
from pipelines.engine.atomic import file_digest
from pipelines.engine.ledger import Ledger, Record, Unit
from pipelines.engine.storage import Store


def publish(ledger: Ledger, out: Store, units: Mapping[str, Unit], job: PlannedJob) -> list[str]:
    """Copy what the job's finished units made into `out`; what is there already stays. Returns names.

    The video comes last: where it is, everything else of the job is.
    """
    published: list[str] = []
    preview = ledger.record("preview", units["preview"].id)
    if preview is not None and preview.status == "done":
        published += _copy(ledger, out, preview, job.name)
    if "finish" in units:
        sampled, finished = (ledger.record(stage, units[stage].id) for stage in ("animate", "finish"))
        if sampled is not None and finished is not None and finished.status == "done":
            if job.spec.frames:
                published += _copy_frames(ledger, out, sampled, job.name)
            published += _copy(ledger, out, finished, job.name)
    ledger.tidy()
    return published


def _copy(ledger: Ledger, out: Store, record: Record, name: str) -> list[str]:
    kept = [file for file in record.files if file in PUBLISHED]
    kept.sort(key=lambda file: PUBLISHED[file] == ".mp4")
    for file in kept:
        _put(ledger, out, record, file, f"{name}{PUBLISHED[file]}")
    return [f"{name}{PUBLISHED[file]}" for file in kept]


def _copy_frames(ledger: Ledger, out: Store, record: Record, name: str) -> list[str]:
    files = [file for file in record.files if file.startswith(f"{FRAMES_FOLDER}/")]
    for file in files:
        _put(ledger, out, record, file, f"{name}.frames/{file.removeprefix(f'{FRAMES_FOLDER}/')}")
    return [f"{name}.frames/"] if files else []


def _put(ledger: Ledger, out: Store, record: Record, file: str, key: str) -> None:
    here, expected = out.local(key), record.files[file]
    # Another job of this name may have left a file of the same size.
    same = out.size(key) == expected["bytes"] and here is not None and file_digest(here) == expected["sha256"]
    if not same:
        out.put(key, ledger.folder_of(record, only=file) / file)
