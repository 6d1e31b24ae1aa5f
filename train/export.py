"""A checkpoint as a VividPose folder, with the frozen encoders, which `vividpose animate` loads.

    python -m train.export runs/vividpose exported/            the average of the newest checkpoint
    python -m train.export runs/vividpose/checkpoints/step-00005000 exported/ --weights live --precision bf16

Reads checkpoints of any ZeRO stage and any number of ranks, in one process, without a GPU.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

import torch

from model.config import BadConfig, parse_config
from model.encoders import TINY
from model.folder import create, save_model
from pipelines.engine.atomic import DiskFull, disk_full_as_such
from train.checkpoint import MANIFEST, BadCheckpoint, Checkpoint, FragmentReader, newest, opened
from train.ranks import Ranks
from train.start import frozen_weights

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def export(source: Path, out: Path, weights: str, precision: str, overwrite: bool = False) -> Checkpoint:
    """Write the folder `out` from a checkpoint, or from the newest of a run. weights: "ema", "live", or "auto": the
    average where there is one. Raises `BadCheckpoint`, `FileExistsError`, `DiskFull`."""
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
            save_model(model, partial, state=state, dtype=PRECISIONS[precision], notes=notes)
            encoders = manifest["settings"]["encoders"]["folder"]
            _copy_encoders(TINY if encoders == "tiny" else Path(encoders), partial)
            if out.exists():
                shutil.rmtree(out)
            partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return checkpoint


def _copy_encoders(source: Path, out: Path) -> None:
    """The frozen parts beside the trained ones, so that the folder is all that `animate` needs."""
    for part in ("vae", "image_encoder", "feature_extractor"):
        if (source / part).is_dir():
            shutil.copytree(source / part, out / part)
        elif part != "feature_extractor":
            raise BadCheckpoint(f"{source / part} is missing: the run was trained with it, put it back")


def main(arguments: list[str] | None = None) -> int:
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("source", type=Path, help="the folder of a run, or of one of its checkpoints")
    top.add_argument("out", type=Path, help="the folder to write")
    top.add_argument(
        "--weights", choices=("auto", "ema", "live"), default="auto", help="auto: the average if there is one"
    )
    top.add_argument("--precision", choices=tuple(PRECISIONS), default="fp32")
    top.add_argument("--overwrite", action="store_true", help="replace the folder `out`")
    options = top.parse_args(arguments)
    try:
        checkpoint = export(options.source, options.out, options.weights, options.precision, options.overwrite)
    except (BadCheckpoint, BadConfig, FileExistsError, DiskFull) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3 if isinstance(error, DiskFull) else 1
    print(f"{options.out}: step {checkpoint.step} of {checkpoint.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
