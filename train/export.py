"""A checkpoint as a VividPose folder, with the frozen encoders, which `vividpose animate` loads.

    python -m train.export runs/vividpose exported/            the average of the newest checkpoint
    python -m train.export runs/vividpose/checkpoints/step-00005000 exported/ --weights live --precision bf16
    python -m train.export s3://bucket/run s3://bucket/models/vividpose    from a run's store, to object storage

Reads checkpoints of any ZeRO stage and any number of ranks, in one process, without a GPU.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from model.config import BadConfig, parse_config
from model.encoders import TINY
from model.folder import create, save_model
from model.trained_on import TrainedOn
from pipelines.engine.atomic import DiskFull, disk_full_as_such
from pipelines.engine.scratch import scratch_folder
from pipelines.engine.setup_error import SetupError
from pipelines.engine.storage import Store, is_object_url, open_store
from train.checkpoint import MANIFEST, BadCheckpoint, Checkpoint, FragmentReader, newest, opened, step_name
from train.ranks import Ranks
from train.run_store import CHECKPOINTS, fetch_checkpoint, whole_steps
from train.start import frozen_weights

INDEX = "model_index.json"
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def export(source: Path, out: Path, weights: str, precision: str, overwrite: bool = False) -> Checkpoint:
    """Write the folder `out` from a checkpoint's folder, or from the newest of a run. weights: "ema", "live", or
    "auto": the average where there is one. Raises `BadCheckpoint`, `FileExistsError`, `DiskFull`."""
    alone = Ranks(0, 1, torch.device("cpu"))
    if (source / MANIFEST).is_file():
        checkpoint = opened(source, alone)
    else:
        found, reasons = newest(source / "checkpoints", alone)
        if found is None:
            raise BadCheckpoint(
                "; ".join(reasons) or f"{source} is neither a checkpoint nor the folder of a run with one"
            )
        checkpoint = found
    manifest = checkpoint.manifest
    has_average = "average" in manifest["kinds"]
    if weights == "ema" and not has_average:
        raise BadCheckpoint(f"{checkpoint.folder} holds no average (ema.decay was 0): use --weights live")
    kind = "weight" if weights == "live" or not has_average else "average"
    model = create(parse_config(manifest["model"], str(checkpoint.folder)), 0)
    state = dict(model.state_dict())
    if state.keys() - manifest["parameters"].keys():
        state |= frozen_weights(checkpoint.folder)
    reader = FragmentReader(checkpoint)
    state |= {name: reader.whole(kind, name) for name in manifest["parameters"]}
    notes = {
        "step": str(checkpoint.step),
        "clips": str(manifest["counters"]["clips"]),
        "weights": "moving average" if kind == "average" else "live",
        "dataset_hash": manifest["dataset_hash"],
        "code": " ".join(manifest["code"].values()),
    }
    if out.exists() and not overwrite:
        raise FileExistsError(f"{out} exists already; give another folder, or --overwrite")
    partial = out.absolute().with_name(f".{out.name}.export.{os.getpid()}")
    try:
        with disk_full_as_such(out):
            save_model(
                model,
                partial,
                state=state,
                dtype=PRECISIONS[precision],
                notes=notes,
                trained_on=_trained_on(manifest["settings"]["data"]["clip"]),
            )
            encoders = manifest["settings"]["encoders"]["folder"]
            _copy_encoders(TINY if encoders == "tiny" else Path(encoders), partial)
            if out.exists():
                shutil.rmtree(out)
            partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return checkpoint


def _trained_on(clip: Mapping[str, Any]) -> TrainedOn:
    """clip: `ClipSettings` as plain data."""
    width, height = clip["size"]
    return TrainedOn(clip["frames"], (width, height), clip["skeleton"], clip["fps"], tuple(clip["strides"]))


def export_between(source: str, out: str, weights: str, precision: str, overwrite: bool = False) -> str:
    """As `export`, but both places may be object storage: a run's store, or one of its checkpoints; what is written
    there counts once it has a `model_index.json`. Returns which checkpoint was taken. Raises `StorageError` too."""
    remote = is_object_url(out)
    place = open_store(out)
    if remote and not overwrite and place.size(INDEX) is not None:
        raise FileExistsError(f"{out} exists already; give another place, or --overwrite")
    folder = fetched_run(source, scratch_folder("run")) if is_object_url(source) else Path(source)
    target = scratch_folder("model") / "model" if remote else Path(out)
    checkpoint = export(folder, target, weights, precision, overwrite)
    if remote:
        put_model(target, place)
    return f"{source}/{checkpoint.folder.relative_to(folder)}" if is_object_url(source) else str(checkpoint.folder)


def fetched_run(url: str, folder: Path) -> Path:
    """A run's store as the folder of a run that holds its newest whole checkpoint, or the one that `url` ends with.
    Raises `BadCheckpoint`."""
    place, _, name = url.rstrip("/").rpartition(f"/{CHECKPOINTS}/")
    store = open_store(place or url)
    steps = [step for step in whole_steps(store) if not place or step_name(step) == name]
    if not steps:
        raise BadCheckpoint(f"{url} is neither a checkpoint nor the store of a run with one")
    fetch_checkpoint(store, steps[0], folder)
    return folder


def put_model(folder: Path, store: Store) -> None:
    """Put a VividPose folder file by file, its index last; an older one stops to count first."""
    store.delete(INDEX)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / INDEX:
            store.put(path.relative_to(folder).as_posix(), path)
    store.put(INDEX, folder / INDEX)


def _copy_encoders(source: Path, out: Path) -> None:
    """The frozen parts beside the trained ones, so that the folder is all that `animate` needs."""
    for part in ("vae", "image_encoder", "feature_extractor"):
        if (source / part).is_dir():
            shutil.copytree(source / part, out / part)
        elif part != "feature_extractor":
            raise BadCheckpoint(f"{source / part} is missing: the run was trained with it, put it back")


def main(arguments: list[str] | None = None) -> int:
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("source", help="the folder or the store of a run, or one of its checkpoints")
    top.add_argument("out", help="the folder or the s3:// place to write")
    top.add_argument(
        "--weights", choices=("auto", "ema", "live"), default="auto", help="auto: the average if there is one"
    )
    top.add_argument("--precision", choices=tuple(PRECISIONS), default="fp32")
    top.add_argument("--overwrite", action="store_true", help="replace the folder `out`")
    options = top.parse_args(arguments)
    try:
        taken = export_between(options.source, options.out, options.weights, options.precision, options.overwrite)
    except (BadCheckpoint, BadConfig, FileExistsError, DiskFull, SetupError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3 if isinstance(error, DiskFull) else 1
    print(f"{options.out}: from {taken}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
