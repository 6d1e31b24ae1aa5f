"""Units of the audit: one group of checks on one shard. Done once for a shard's content and the checks' versions."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.audit import fingerprint, people, picture
from pipelines.audit.measure import COUNTING, SHOWN, Measuring, measure_sample
from pipelines.audit.schema import PEOPLE, PICTURE, SENSITIVE
from pipelines.audit.sensitive import load_classifier
from pipelines.audit.stored import list_members
from pipelines.engine.atomic import file_digest
from pipelines.engine.executors import MESSAGE, STOP, Row
from pipelines.engine.isolation import ChildDied, IsolatedWorker
from pipelines.engine.ledger import Ledger, Outcome, Record, Unit
from pipelines.engine.stage import run_unit, unit_of

log = logging.getLogger(__name__)
MEASURES, FINGERPRINTS = "measures.parquet", "fingerprints.parquet"
COLUMNS = {"people": PEOPLE, "picture": (("corrupt", pa.string()), *PICTURE), "sensitive": SENSITIVE}
_FINGERPRINT_SCHEMA = pa.schema(
    [("key", pa.string()), ("seconds", pa.float64()), ("frame", pa.binary()), ("person", pa.binary()),
     ("face", pa.binary()), ("face_model", pa.string())]
)  # fmt: skip
# One sample may take so long and so much memory before its process is ended and the sample called corrupt.
SAMPLE_SECONDS, SAMPLE_BYTES, SAMPLES_A_CHILD = 180.0, 4 << 30, 2000


@dataclass(frozen=True)
class GroupStage:
    """A group of checks as a stage of the engine."""

    group: str
    measuring: Measuring

    @property
    def name(self) -> str:
        return f"audit_{self.group}"

    @property
    def version(self) -> str:
        return {"people": people.VERSION, "picture": f"{picture.VERSION}.{fingerprint.VERSION}.{COUNTING}"}.get(
            self.group, str(SHOWN)
        )

    def identity(self) -> dict[str, Any]:
        if self.group == "people":
            return {"bodies": sorted(digest for digest, _ in self.measuring.bodies)}
        return {"classifier": self._classifier} if self.group == "sensitive" else {}

    @cached_property
    def _classifier(self) -> dict[str, Any]:
        assert self.measuring.classifier is not None
        return load_classifier(self.measuring.classifier).identity()

    def unit(self, shard: str, sha256: str) -> Unit:
        """The name of the shard is a label only: the same content under another name is measured already."""
        return unit_of(self, shard, {"sha256": sha256})


def stages_of(measuring: Measuring) -> list[GroupStage]:
    groups = ["people", "picture", *(["sensitive"] if measuring.classifier else [])]
    return [GroupStage(group, measuring) for group in groups]


@dataclass(frozen=True)
class DigestStage:
    """The sha256 of a shard as it lies there now, read again when its size or time of change is another."""

    name: str = "audit_digest"
    version: str = "1"

    def identity(self) -> dict[str, Any]:
        return {}

    def unit(self, path: Path) -> Unit:
        found = path.stat()
        return unit_of(self, path.name, {"name": path.name, "bytes": found.st_size, "mtime": found.st_mtime_ns})


class ShardWorker:
    """row: shard (file name), path. Measures what has no record yet; the row comes back with its `sha256`."""

    def __init__(self, work: Path, run: str, measuring: Measuring) -> None:
        self.ledger, self.run, self.measuring = Ledger(work), run, measuring
        self.stages = stages_of(measuring)
        self.child = IsolatedWorker(SAMPLE_SECONDS, SAMPLE_BYTES, SAMPLES_A_CHILD)

    def __call__(self, row: Row) -> Row:
        path = Path(row["path"])

        def read(folder: Path) -> Outcome:
            return Outcome(info={"sha256": file_digest(path)})

        digest = run_unit(self.ledger, DigestStage().unit(path), self.run, read)
        sha256 = digest.outcome.info["sha256"]
        for stage in self.stages:
            record = self._measure(stage, path, sha256)
            if record.status != "done":
                return {**row, "sha256": sha256, STOP: record.status, MESSAGE: record.outcome.message}
        return {**row, "sha256": sha256}

    def _measure(self, stage: GroupStage, path: Path, sha256: str) -> Record:
        def work(folder: Path) -> Outcome:
            contents = self.child.call(list_members, path)
            rows: list[Row] = []
            prints: list[Row] = []
            for key, members in sorted(contents.samples.items()):
                measured = self._sample(path, key, members, stage.group)
                found = measured.pop("fingerprints", None)
                if found is not None:
                    prints.append(_print_row(key, found))
                rows.append({"key": key, **measured})
            _write(folder / MEASURES, rows, pa.schema([("key", pa.string()), *COLUMNS[stage.group]]))
            if stage.group == "picture":
                _write(folder / FINGERPRINTS, prints, _FINGERPRINT_SCHEMA)
            return Outcome(notes=tuple(contents.problems[:20]), info={"samples": len(rows)}, frames=len(rows))

        return run_unit(self.ledger, stage.unit(path.name, sha256), self.run, work)

    def _sample(self, path: Path, key: str, members: dict[str, Any], group: str) -> Row:
        try:
            return self.child.call(measure_sample, path, key, members, group, self.measuring)
        except ChildDied as death:
            log.warning("%s in %s: %s", key, path.name, death)
            return {"corrupt": f"reading it {death.reason.replace('_', ' ')}: {death}"}


def _print_row(key: str, found: fingerprint.Fingerprints) -> Row:
    face = found.face.tobytes() if found.face is not None else None
    return {"key": key, "seconds": found.seconds, "frame": found.frame.tobytes(), "person": found.person.tobytes(),
            "face": face, "face_model": found.face_model}  # fmt: skip


def _write(path: Path, rows: Sequence[Row], schema: pa.Schema) -> None:
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)
