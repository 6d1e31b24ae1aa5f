"""The worker that encodes a shard: one unit of the ledger, one file beside the shard."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av.error
import numpy as np
import torch
from numpy.typing import NDArray
from transformers.utils.logging import disable_progress_bar

from model.encoders import Encoders, load_encoders
from pipelines.engine.atomic import file_digest
from pipelines.engine.executors import MESSAGE, STOP, Row
from pipelines.engine.ledger import Ledger, Outcome, Unit, ledger_at
from pipelines.engine.scratch import scratch_file
from pipelines.engine.stage import run_unit, unit_of
from pipelines.engine.storage import Store, join, open_store
from pipelines.latents.settings import LatentsSettings
from pipelines.latents_format import LatentsIdentity, LatentsWriter, Shape, latents_name
from pipelines.shard_format import BadSample
from pipelines.shard_index import ShardIndex, index_name, index_tar
from pipelines.video.crop import crop_to
from pipelines.video.reader import ClipReader

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LatentsStage:
    """Encoding a shard."""

    latents: LatentsIdentity
    name: str = "latents"
    version: str = "1"

    def identity(self) -> dict[str, Any]:
        return {"key": self.latents.key, **vars(self.latents), "size": list(self.latents.size)}

    def unit(self, shard: str, sha256: str) -> Unit:
        return unit_of(self, shard, {"shard": sha256})


@dataclass(frozen=True)
class LatentsContext:
    """What every worker is given. Small and picklable: it travels to Ray's actors. encoders: the folder."""

    out: str
    run: str
    encoders: str
    identity: LatentsIdentity
    settings: LatentsSettings

    @property
    def ledger(self) -> Ledger:
        return ledger_at(str(join(self.out, "work")))

    @property
    def store(self) -> Store:
        return open_store(self.out)

    def file(self, shard: str) -> str:
        """Where the latents of a shard lie in the output."""
        return f"latents/{self.identity.key}/{latents_name(shard)}"


class LatentsWorker:
    """row: shard, sha256, bytes. The networks are loaded with the first shard that has work left."""

    def __init__(self, context: LatentsContext) -> None:
        self.context = context
        self._encoders: Encoders | None = None

    def __call__(self, row: Row) -> Row:
        context = self.context
        unit = LatentsStage(context.identity).unit(row["shard"], row["sha256"])

        def work(_: Path) -> Outcome:
            return self.encode_shard(row)

        record = run_unit(context.ledger, unit, context.run, work)
        if record.status == "done":
            return row
        return {**row, STOP: record.status, MESSAGE: record.outcome.message or record.outcome.reason}

    @property
    def encoders(self) -> Encoders:
        if self._encoders is None:
            wanted = self.context.settings.device
            device = ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted
            dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[self.context.identity.precision]
            disable_progress_bar()  # one for 40 tensors, in the log of every worker
            self._encoders = load_encoders(self.context.encoders, device, dtype)
        return self._encoders

    def encode_shard(self, row: Row) -> Outcome:
        """Write the shard's file whole. Clips that cannot be decoded become NaN and are noted."""
        context, encoders = self.context, self.encoders
        index = read_index(context.store, row["shard"], row["sha256"], row["bytes"])
        width, height = context.identity.size
        factor, notes = encoders.vae.factor, []
        shapes: dict[str, Shape] = {}
        for key, frames in zip(index.keys, index.frames):
            shapes[f"{key}.moments"] = (frames, 2 * encoders.vae.channels, height // factor, width // factor)
            shapes[f"{key}.clip"] = (frames, encoders.image.width)
        described = {"shard": row["sha256"], "key": context.identity.key}
        with context.store.writing(context.file(row["shard"])) as path:
            with LatentsWriter(path, shapes, described) as writer:
                for number, key in enumerate(index.keys):
                    try:
                        embeddings = self._encode_clip(context.store, index, number, writer)
                    except BadSample as error:
                        notes.append(f"{key}: {error}")
                        log.warning("%s: %s: its latents are left empty", row["shard"], error)
                        writer.fill(f"{key}.moments")
                        embeddings = np.full(shapes[f"{key}.clip"], np.nan, np.float16)
                    writer.write(embeddings)
            facts = {"sha256": file_digest(path), "bytes": path.stat().st_size, "shard": row["sha256"]}
        return Outcome(info=facts, notes=tuple(notes), frames=sum(index.frames))

    def _encode_clip(self, store: Store, index: ShardIndex, number: int, writer: LatentsWriter) -> NDArray[np.float16]:
        """Write a clip's moments, `at_once` frames in memory. Returns its embeddings, (F, D)."""
        encoders, embedded = self.encoders, []
        for pictures in self._pictures(store, index, number):
            signed = torch.from_numpy(pictures).to(torch.float32) / 127.5 - 1
            moments = encoders.vae.encode(signed, self.context.settings.at_once)
            log_variance = 2 * moments.std.clamp_min(1e-10).log()
            writer.write(torch.cat([moments.mean, log_variance], 1).half().cpu().numpy())
            embedded.append(encoders.image.embed(signed)[:, 0].half().cpu().numpy())
        return np.concatenate(embedded)

    def _pictures(self, store: Store, index: ShardIndex, number: int) -> Iterator[NDArray[np.uint8]]:
        """A clip's frames as the stream crops them: uint8 (n, 3, H, W)."""
        key, (start, length) = index.keys[number], index.members["video.mp4"][number]
        video = store.read_range(f"shards/{index.shard}", start, length)
        try:
            with ClipReader(video) as reader:
                if len(reader) != index.frames[number]:
                    raise BadSample(f"sample {key}: video.mp4 has {len(reader)} frames, not {index.frames[number]}")
                crop = crop_to(reader.size, self.context.identity.size)
                for frames in reader.chunks(self.context.settings.at_once):
                    yield crop.pictures(frames)
        except (ValueError, av.error.FFmpegError) as error:
            if isinstance(error, BadSample):
                raise
            raise BadSample(f"sample {key}: video.mp4: {error}") from error


def read_index(store: Store, shard: str, sha256: str, size: int) -> ShardIndex:
    """The index beside a shard; where there is none of this very tar, the tar is scanned. Raises `BadSample`."""
    try:
        index = ShardIndex.from_json(store.get(f"shards/{index_name(shard)}"), shard)
        if (index.sha256, index.size) == (sha256, size):
            return index
    except (FileNotFoundError, BadSample) as error:
        log.warning("%s has no usable index (%s): it is scanned", shard, error)
    here = store.local(f"shards/{shard}")
    if here is not None:
        return index_tar(here, shard, sha256, size)
    with scratch_file(shard) as copy:
        store.fetch(f"shards/{shard}", copy)
        return index_tar(copy, shard, sha256, size)
