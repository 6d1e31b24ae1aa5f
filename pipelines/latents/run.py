"""`vividpose latents`: a unit per shard, each skipped when the ledger already has it."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from model.encoders import TINY
from pipelines.engine.atomic import DiskFull
from pipelines.engine.executors import EXECUTORS, MESSAGE, STOP, Pool, Row
from pipelines.engine.ledger import Record, new_run_id
from pipelines.engine.run_lock import only_run
from pipelines.engine.setup_error import SetupError
from pipelines.engine.storage import Store, join, open_store
from pipelines.job.progress import Progress
from pipelines.latents.settings import LatentsSettings
from pipelines.latents.worker import LatentsContext, LatentsStage, LatentsWorker
from pipelines.latents_format import LISTING, LatentsIdentity, encoders_digest, latents_name

log = logging.getLogger(__name__)


class BadRequest(RuntimeError):
    """What was asked for cannot be done: no dataset there, no encoders, no GPU."""


@dataclass(frozen=True)
class LatentsSummary:
    """key: the folder below `latents/`. frames: encoded in this run. notes: clips that could not be encoded."""

    key: str
    shards: int
    done: int
    frames: int
    bytes: int
    seconds: float
    notes: tuple[str, ...]
    failures: tuple[str, ...]


def encoders_folder(model: str) -> Path:
    """The folder that `--model` names; "tiny" is the one that is shipped."""
    return TINY if model == "tiny" else Path(model)


def run_latents(out: Path | str, settings: LatentsSettings) -> LatentsSummary:
    """Encode every shard of the dataset in `out` that has no latents of this key yet.

    Raises `BadRequest`, `DiskFull`, `Busy`, `BadOutput`, `SetupError`, `Infeasible`, `NoCluster`.
    """
    if settings.device == "cuda" and not torch.cuda.is_available() and settings.executor == "inline":
        raise BadRequest("--device cuda: this machine has no GPU that torch can use; leave --device out, or take cpu")
    folder = encoders_folder(settings.model)
    try:
        encoders = encoders_digest(folder)
    except FileNotFoundError as error:
        raise BadRequest(f"--model {settings.model}: {error}; give a folder of Stable Video Diffusion") from error
    store = open_store(out)
    rows = _shards(store)
    identity = LatentsIdentity(encoders, settings.size, settings.precision)
    context = LatentsContext(store.url, new_run_id(), str(folder.absolute()), identity, settings)
    ledger = context.ledger
    units = {row["name"]: LatentsStage(identity).unit(row["name"], row["sha256"]) for row in rows}
    with only_run(open_store(join(store.url, "work"))):
        ledger.sweep()
        _remove_stale(context, {row["name"] for row in rows})
        work: list[Row] = []
        for row in rows:
            record = ledger.record("latents", units[row["name"]].id)
            if record is not None and store.size(context.file(row["name"])) != record.outcome.info.get("bytes"):
                log.warning("%s is missing or has another size: it is made again", context.file(row["name"]))
                ledger.reopen("latents", record.unit)
                record = None
            if record is None:
                named = {"shard": row["name"], "sha256": row["sha256"], "bytes": row["bytes"], "label": row["name"]}
                work.append(named)
        failures = _execute(context, work)
        records = {name: ledger.record("latents", unit.id) for name, unit in units.items()}
        done = {name: record for name, record in records.items() if record is not None}
        store.put(f"latents/{identity.key}/{LISTING}", _listing(identity, done))
    mine = [record for record in done.values() if record.run == context.run]
    return LatentsSummary(
        identity.key,
        len(rows),
        len(done),
        sum(record.outcome.frames for record in mine),
        sum(record.outcome.info["bytes"] for record in done.values()),
        sum(record.seconds for record in mine),
        tuple(note for record in done.values() for note in record.outcome.notes),
        tuple(failures),
    )


def _shards(store: Store) -> list[dict[str, Any]]:
    try:
        rows = json.loads(store.get("dataset.json"))["shards"]
    except FileNotFoundError:
        raise BadRequest(f"{store.url} has no dataset.json: it is no output folder of `vividpose shards`") from None
    except (ValueError, KeyError, TypeError) as error:
        raise BadRequest(f"{store.url}/dataset.json is not a dataset's listing ({error!r})") from error
    for row in rows:
        size = store.size(f"shards/{row['name']}")
        if size != row["bytes"]:
            found = "missing" if size is None else f"of {size} bytes"
            raise BadRequest(f"{row['name']} is {found}, dataset.json lists it with {row['bytes']}; make it again")
    return rows


def _remove_stale(context: LatentsContext, shards: set[str]) -> None:
    """Latents of shards that the dataset no longer has go away, under every key: their pictures may be withdrawn."""
    wanted = {latents_name(shard) for shard in shards}
    for entry in list(context.store.list_prefix("latents")):
        if entry.key.endswith(".safetensors") and entry.key.rsplit("/", 1)[-1] not in wanted:
            context.store.delete(entry.key)


def _execute(context: LatentsContext, work: list[Row]) -> list[str]:
    settings, failures = context.settings, []
    on_gpu = settings.device == "cuda" or (settings.device == "auto" and torch.cuda.is_available())
    gpus = settings.gpus if settings.gpus is not None else float(on_gpu)
    pool = Pool("latents", partial(LatentsWorker, context), settings.workers, 1.0, gpus, 1)
    with Progress() as progress, progress.phase("latents", len(work)) as advance:
        for row in EXECUTORS[settings.executor](work, [pool]) if work else ():
            advance(row)
            if row.get(STOP) == "disk_full":
                raise DiskFull(row[MESSAGE])
            if row.get(STOP) == "setup":
                raise SetupError(row[MESSAGE])
            if row.get(STOP):
                failures.append(f"{row['label']}: {row[MESSAGE]}")
    return failures


def _listing(identity: LatentsIdentity, done: dict[str, Record]) -> bytes:
    rows = {
        name: {fact: record.outcome.info[fact] for fact in ("sha256", "bytes", "shard")}
        for name, record in done.items()
    }
    return (json.dumps({"identity": asdict(identity), "shards": rows}, indent=1, sort_keys=True) + "\n").encode()
