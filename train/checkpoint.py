"""Checkpoints that are complete or absent, and do not depend on the number of ranks or the ZeRO stage.

    OUT/checkpoints/step-00000500/rank-00000-of-00008.000.safetensors   fragments, named kind/start/parameter
    OUT/checkpoints/step-00000500/manifest.json                         counters, settings, sizes and sha256 of the
    files OUT/checkpoints/latest                                              the name of the newest, written last

Every rank writes its own fragments into a temporary folder and flushes them; then the folder takes its name.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pipelines.engine.atomic import digest, file_digest, fsync_path, write_whole
from train.masters import Masters
from train.ranks import Ranks
from train.settings import CheckpointSettings

log = logging.getLogger(__name__)

FORMAT = 1
MANIFEST = "manifest.json"
PIECE = 1 << 31
"""Bytes that a rank copies to the host at a time."""


class BadCheckpoint(ValueError):
    """A checkpoint that is damaged, incomplete, or belongs to another model."""


class CheckpointFailed(RuntimeError):
    """A checkpoint could not be written. What was there before is untouched."""


@dataclass(frozen=True)
class Checkpoint:
    folder: Path
    manifest: dict[str, Any]

    @property
    def step(self) -> int:
        return int(self.manifest["step"])


def step_name(step: int) -> str:
    return f"step-{step:08d}"


def step_of(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


def save(root: Path, step: int, masters: Masters, meta: Mapping[str, Any], ranks: Ranks) -> Path:
    """Write a checkpoint; collective. Raises `CheckpointFailed` on every rank when it failed on one."""
    final = root / step_name(step)
    temporary = root / f".{final.name}.tmp"
    try:
        if ranks.first:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
        failed = None
    except OSError as error:
        failed = str(error)
    _agree(ranks, failed, temporary)
    files: dict[str, dict[str, Any]] = {}
    try:
        files = _write_fragments(temporary, masters, ranks)
    except (OSError, SafetensorError) as error:
        failed = f"rank {ranks.rank}: {error}"
    _agree(ranks, failed, temporary)
    everything = {name: entry for part in ranks.gather(files) for name, entry in part.items()}
    if ranks.first:
        try:
            manifest = {"format": FORMAT, "step": step, "adam_step": masters.adam_step(), **meta}
            manifest |= {"kinds": list(masters.kinds()), "files": everything}
            manifest["digest"] = digest(manifest)
            write_whole(temporary / MANIFEST, json.dumps(manifest, indent=1).encode())
            fsync_path(temporary)
            if final.exists():
                remove(final)
            temporary.rename(final)
            fsync_path(root)
            write_whole(root / "latest", f"{final.name}\n".encode())
        except (OSError, RuntimeError) as error:
            failed = str(error)
    _agree(ranks, failed, temporary)
    return final


def _agree(ranks: Ranks, failed: str | None, temporary: Path) -> None:
    reasons = [reason for reason in ranks.gather(failed) if reason]
    if reasons:
        if ranks.first:
            shutil.rmtree(temporary, ignore_errors=True)
        raise CheckpointFailed(reasons[0])


def _write_fragments(folder: Path, masters: Masters, ranks: Ranks) -> dict[str, dict[str, Any]]:
    files = {}
    for number, piece in enumerate(_pieces(masters)):
        name = f"rank-{ranks.rank:05d}-of-{ranks.count:05d}.{number:03d}.safetensors"
        save_file(piece, folder / name)
        fsync_path(folder / name)
        files[name] = {"bytes": (folder / name).stat().st_size, "sha256": file_digest(folder / name)}
    return files


def _pieces(masters: Masters) -> Iterator[dict[str, Tensor]]:
    """This rank's fragments on the host, `PIECE` bytes at a time."""
    piece: dict[str, Tensor] = {}
    size = 0
    for kind in masters.kinds():
        for fragment in masters.fragments:
            if not fragment.written:
                continue
            tensor = masters.tensor(kind, fragment)
            if piece and size + tensor.nbytes > PIECE:
                yield piece
                piece, size = {}, 0
            piece[f"{kind}/{fragment.start}/{fragment.name}"] = tensor.cpu().clone()
            size += tensor.nbytes
    if piece:
        yield piece


def prune(root: Path, policy: CheckpointSettings) -> None:
    """Remove the checkpoints that the policy does not keep; only rank 0 calls it."""
    complete = {step_of(folder): folder for folder in _folders(root) if (folder / MANIFEST).is_file()}
    for step in superfluous(list(complete), policy):
        remove(complete[step])


def superfluous(steps: Sequence[int], policy: CheckpointSettings) -> list[int]:
    """Which of the complete checkpoints the policy does not keep."""
    older = sorted(steps, reverse=True)[policy.keep :]
    return [step for step in older if not policy.keep_every or step % policy.keep_every]


def remove(folder: Path) -> None:
    """Take a checkpoint away so that no half of it is ever found under its name."""
    going = folder.with_name(f".{folder.name}.removed.tmp")
    shutil.rmtree(going, ignore_errors=True)
    folder.rename(going)
    shutil.rmtree(going)


def remove_unfinished(root: Path) -> None:
    """Remove what a killed run left half written; only while the run folder is locked."""
    for folder in root.glob(".step-*.tmp"):
        shutil.rmtree(folder)


def _folders(root: Path) -> list[Path]:
    """Newest first."""
    return sorted((path for path in root.glob("step-*") if path.name[5:].isdigit()), reverse=True)


def newest(root: Path, ranks: Ranks) -> tuple[Checkpoint | None, list[str]]:
    """The newest complete checkpoint, and why newer ones were passed over; collective."""
    reasons: list[str] = []
    for name in ranks.from_first([folder.name for folder in _folders(root)]):
        try:
            return opened(root / name, ranks), reasons
        except BadCheckpoint as error:
            reasons.append(str(error))
    return None, reasons


def opened(folder: Path, ranks: Ranks) -> Checkpoint:
    """The checkpoint in `folder` with every file checked against its recorded size and sha256; collective, the ranks
    share the reading. Raises `BadCheckpoint` on every rank."""
    reason = None
    manifest: dict[str, Any] = {}
    try:
        manifest = read_manifest(folder)
        for number, (name, entry) in enumerate(sorted(manifest["files"].items())):
            if number % ranks.count == ranks.rank:
                _check_file(folder / name, entry)
    except BadCheckpoint as error:
        reason = str(error)
    reasons = [text for text in ranks.gather(reason) if text]
    if reasons:
        raise BadCheckpoint(reasons[0])
    return Checkpoint(folder, manifest)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest, with its own digest checked. Raises `BadCheckpoint`."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except OSError as error:
        raise BadCheckpoint(f"{folder} is no complete checkpoint: {error.strerror} ({MANIFEST})") from error
    except ValueError as error:
        raise BadCheckpoint(f"{folder / MANIFEST} is damaged: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BadCheckpoint(f"{folder / MANIFEST} is not of format {FORMAT}, which this software reads")
    recorded = manifest.pop("digest", None)
    if digest(manifest) != recorded:
        raise BadCheckpoint(f"{folder / MANIFEST} was changed after it was written")
    return manifest


def _check_file(path: Path, entry: Mapping[str, Any]) -> None:
    try:
        size = path.stat().st_size
        if size != entry["bytes"]:
            raise BadCheckpoint(f"{path} has {size} bytes, wants {entry['bytes']}: it is truncated or was changed")
        if file_digest(path) != entry["sha256"]:
            raise BadCheckpoint(f"{path} is damaged: its sha256 is not the recorded one")
    except OSError as error:
        raise BadCheckpoint(f"{path} cannot be read: {error.strerror}") from error


class FragmentReader:
    """Any run of elements of any parameter in a checkpoint, whatever ranks wrote it."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.shapes: dict[str, list[int]] = checkpoint.manifest["parameters"]
        self._runs: dict[tuple[str, str], list[tuple[int, int, str, str]]] = defaultdict(list)
        self._open = {name: safe_open(checkpoint.folder / name, "pt") for name in checkpoint.manifest["files"]}
        for name, file in self._open.items():
            for key in file.keys():  # noqa: SIM118  (it is no mapping)
                kind, start, parameter = key.split("/", 2)
                length = file.get_slice(key).get_shape()[0]
                self._runs[kind, parameter].append((int(start), length, name, key))

    def read(self, kind: str, parameter: str, start: int, length: int) -> Tensor:
        """fp32 (length,). Raises `BadCheckpoint` when a part is nowhere."""
        result = torch.empty(length)
        filled = 0
        for at, count, name, key in self._runs[kind, parameter]:
            first, last = max(start, at), min(start + length, at + count)
            if first < last:
                result[first - start : last - start] = self._open[name].get_slice(key)[first - at : last - at]
                filled += last - first
        if filled != length:
            raise BadCheckpoint(f"{self.checkpoint.folder} lacks {length - filled} elements of {kind} {parameter}")
        return result

    def whole(self, kind: str, parameter: str) -> Tensor:
        """A parameter, fp32, in its shape."""
        shape = torch.Size(self.shapes[parameter])
        return self.read(kind, parameter, 0, shape.numel()).reshape(shape)


@torch.no_grad()
def restore(reader: FragmentReader, masters: Masters) -> None:
    """Fill this rank's fp32 weights, moments and average with what the checkpoint holds."""
    manifest = reader.checkpoint.manifest
    kinds = [kind for kind in manifest["kinds"] if kind != "average" or masters.average]
    if manifest["adam_step"]:
        masters.set_adam_step(manifest["adam_step"])
    for kind in kinds:
        for fragment in masters.fragments:
            masters.tensor(kind, fragment).copy_(reader.read(kind, fragment.name, fragment.start, fragment.length))
    if masters.average and "average" not in kinds:
        masters.start_average()
